// Ed25519 (RFC 8032), strictly: what engines disagree about is refused before they are asked.

import { fromBe } from "./bytes.js";

/** @import { Bytes } from "./bytes.js" */

// RFC 8032 §5.1: the field's prime and the order of the base point.
const P = (1n << 255n) - 19n;
const L = (1n << 252n) + 27742317777372353535851937790883648493n;

// The y coordinates of the eight points whose order divides 8; −y is the other of each pair.
const Y8 = 0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7n;
const SMALL_ORDER_Y = new Set([0n, 1n, P - 1n, Y8, P - Y8]);

/**
 * @param {Uint8Array} publicKey 32 bytes
 * @param {Uint8Array} signature 64 bytes
 * @param {Bytes} message
 * @returns {Promise<boolean>} whether the signature verifies. Both points must be canonically encoded and not of small order, and S
 *   below the group's order (RFC 8032 §5.1.7). Throws if this engine has no Ed25519.
 */
export async function verifyEd25519(publicKey, signature, message) {
  if (publicKey.length !== 32 || signature.length !== 64) return false;
  const s = fromLe(signature.subarray(32));
  if (s >= L || !strictPoint(publicKey) || !strictPoint(signature.subarray(0, 32))) return false;
  const key = await importKey(new Uint8Array(publicKey));
  return key !== null && crypto.subtle.verify("Ed25519", key, new Uint8Array(signature), message);
}

/**
 * @param {Uint8Array} encoded 32 bytes
 * @returns {boolean} whether y is reduced and the point, if it is one, is not of small order
 */
export function strictPoint(encoded) {
  const y = fromLe(encoded) & ((1n << 255n) - 1n);
  return y < P && !SMALL_ORDER_Y.has(y);
}

/** @param {Uint8Array} bytes least significant first */
function fromLe(bytes) {
  return fromBe(new Uint8Array(bytes).reverse());
}

/** @param {Bytes} raw */
async function importKey(raw) {
  try {
    return await crypto.subtle.importKey("raw", raw, "Ed25519", false, ["verify"]);
  } catch (error) {
    if (error instanceof DOMException && error.name === "NotSupportedError") {
      throw new Error("this engine's WebCrypto has no Ed25519: no signature can be checked here", { cause: error });
    }
    return null; // Not a point on the curve, which some engines notice this early.
  }
}
