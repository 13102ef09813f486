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
    const binary = atob(text);
    const bytes = new Uint8Array(binary.length);
    for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
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
  // In parts, for a call takes no more arguments than the stack holds.
  for (let i = 0; i < bytes.length; i += 8192) binary += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(binary);
}
