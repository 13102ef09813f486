// Bytes, text and SHA-256: the ground that every other module stands on.

/** Copies are made by `new Uint8Array(…)`: slice() of a Buffer of Node.js is none. @typedef {Uint8Array<ArrayBuffer>} Bytes */

/** What was given is not acceptable; the message says what is wrong with it. Every refusal of this package is one of these. */
export class Refused extends Error {
  /** @param {string} message */
  constructor(message) {
    super(message);
    this.name = "Refused";
  }
}

/**
 * Refuses with `message` unless `condition` holds.
 * @param {unknown} condition
 * @param {string} message
 * @returns {asserts condition}
 */
export function check(condition, message) {
  if (!condition) throw new Refused(message);
}

/**
 * @param {string} text without lone surrogates
 * @returns {Bytes} its UTF-8
 */
export function utf8(text) {
  return new TextEncoder().encode(text);
}

/**
 * @param {Uint8Array} bytes
 * @param {string} what names the bytes in the refusal
 * @returns {string} the text, a byte order mark kept as a character
 */
export function fromUtf8(bytes, what) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new Refused(`${what} is not UTF-8`);
  }
}

/**
 * @param {Uint8Array} bytes
 * @returns {string} lower-case hexadecimal digits
 */
export function hex(bytes) {
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}

/**
 * @param {string} text pairs of lower-case hexadecimal digits
 * @returns {Bytes}
 */
export function fromHex(text) {
  check(/^([0-9a-f]{2})*$/.test(text), "not pairs of lower-case hexadecimal digits");
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

/**
 * @param {...Uint8Array} parts
 * @returns {Bytes} the parts joined
 */
export function concat(...parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/**
 * @param {Uint8Array} a
 * @param {Uint8Array} b
 * @returns {boolean}
 */
export function equal(a, b) {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/**
 * @param {Uint8Array} bytes
 * @returns {bigint} the number that they are, most significant byte first
 */
export function fromBe(bytes) {
  return bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

/**
 * @param {bigint} value 0 to 2^64 − 1
 * @returns {Bytes} 8 bytes, most significant first
 */
export function be64(value) {
  check(value >= 0n && value < 1n << 64n, "a number needs more than 64 bits");
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value);
  return bytes;
}

/**
 * @param {bigint} value 0 to 2^64 − 1
 * @returns {Bytes} unsigned LEB128, as short as possible
 */
export function uv(value) {
  const bytes = [];
  for (let rest = value; ; rest >>= 7n) {
    if (rest < 0x80n) return Uint8Array.of(...bytes, Number(rest));
    bytes.push(Number(rest & 0x7fn) | 0x80);
  }
}

/** Reads hostile bytes from the front; what is not there is refused before anything is made of its announced length. */
export class Reader {
  #at = 0;

  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.bytes = bytes;
  }

  /** How many bytes are left. */
  get left() {
    return this.bytes.length - this.#at;
  }

  /**
   * @param {number | bigint} length
   * @param {string} what names them in the refusal
   * @returns {Bytes} a copy of the next bytes
   */
  take(length, what) {
    check(length <= this.left, `${what} is cut off`);
    this.#at += Number(length);
    return new Uint8Array(this.bytes.subarray(this.#at - Number(length), this.#at));
  }

  /**
   * @param {string} what
   * @returns {number} one byte
   */
  byte(what) {
    return this.take(1, what)[0] ?? 0;
  }

  /**
   * @param {string} what
   * @returns {bigint} a number of 64 bits, most significant byte first
   */
  be64(what) {
    return fromBe(this.take(8, what));
  }

  /**
   * @param {string} what
   * @returns {bigint} unsigned LEB128 of at most 64 bits, as short as possible
   */
  uv(what) {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.byte(what);
      value |= BigInt(byte & 0x7f) << shift;
      check(value < 1n << 64n && shift < 70n, `${what} needs more than 64 bits`);
      if (byte < 0x80) {
        check(byte !== 0 || shift === 0n, `${what} is not written as short as possible`);
        return value;
      }
    }
  }

  /**
   * @param {number} max
   * @param {string} what
   * @returns {Bytes} bytes with their length as uv before them
   */
  counted(max, what) {
    const length = this.uv(what);
    check(length <= max, `${what} has more than ${max} bytes`);
    return this.take(length, what);
  }

  /** @param {string} what */
  end(what) {
    check(this.left === 0, `${what} has bytes after its end`);
  }
}

/**
 * @param {string} text
 * @param {string} what names the number in the refusal
 * @returns {bigint} 0 to 2^64 − 1
 */
export function decimal(text, what) {
  check(/^(0|[1-9][0-9]{0,19})$/.test(text), `${what} is not a decimal number without leading zeroes`);
  const value = BigInt(text);
  check(value < 1n << 64n, `${what} needs more than 64 bits`);
  return value;
}

/**
 * @param {...Uint8Array} parts
 * @returns {Promise<Bytes>} SHA-256 of the parts joined
 */
export async function sha256(...parts) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", concat(...parts)));
}
