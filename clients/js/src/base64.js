// Standard base 64 (RFC 4648 §4), in its one canonical spelling: padded, no line breaks, no stray bits.

import { Refused } from "./bytes.js";

/** @import { Bytes } from "./bytes.js" */

/**
 * @param {string} text
 * @param {string} what names the text in the refusal
 * @returns {Bytes}
 */
export function fromBase64(text, what) {
  try {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    // atob forgives missing padding, white space and stray bits; one spelling per value is what does not.
    if (toBase64(bytes) === text) return bytes;
  } catch {
    // Told below: atob's own message is about a web page's string.
  }
  throw new Refused(`${what} is not canonical base64`);
}

/**
 * @param {Uint8Array} bytes
 * @returns {string}
 */
export function toBase64(bytes) {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}
