// Signed notes and verifier keys (c2sp.org/signed-note) and cosignatures (c2sp.org/tlog-cosignature).

import { fromBase64 } from "./base64.js";
import { check, concat, equal, fromBe, fromHex, fromUtf8, sha256, utf8 } from "./bytes.js";
import { verifyEd25519 } from "./ed25519.js";

/** @import { Bytes } from "./bytes.js" */

/** Signature types that are known here. ML-DSA-44 is told apart, and never checked: WebCrypto has none. */
export const TYPE = Object.freeze({ ed25519: 0x01, cosignature: 0x04, mlDsa44: 0x06 });

const KEY_LENGTH = new Map([[0x01, 32], [0x04, 32], [0x06, 1312]]);
const SIGNATURE_LENGTH = new Map([[0x01, 64], [0x04, 72], [0x06, 2428]]);
const MAX_NOTE_BYTES = 1 << 19;
const MAX_SIGNATURES = 100;
// tlog-cosignature: a cosigned message has one byte for the length of each name.
const MAX_NAME_BYTES = 255;
// tlog-cosignature: a timestamp MUST NOT exceed this.
const MAX_TIME = (1n << 63n) - 1n;

/**
 * A verifier key whose key ID is that of its bytes.
 * @typedef {{ name: string, id: Bytes, type: number, publicKey: Bytes, text: string }} Vkey
 */
/** @typedef {{ name: string, id: Bytes, signature: Bytes }} SignatureLine */
/** @typedef {{ text: string, signatures: SignatureLine[] }} Note parsed, nothing verified */
/**
 * What one signature line is worth under one key: `time` is the cosignature's, in seconds since the epoch, null for type 0x01.
 * `checked` false: the line is of a type that cannot be checked here and proves nothing.
 * @typedef {{ key: Vkey, time: bigint | null, checked: boolean }} Signed
 */

/**
 * @param {string} name
 * @param {string} what names it in the refusal
 */
function checkName(name, what) {
  check(name !== "", `${what} is empty`);
  check(!/[\p{White_Space}+\0-\x1f]/u.test(name), `${what} holds a space, a plus sign or an ASCII control character`);
}

/**
 * @param {string} text `name+id+base64(type || key)`
 * @returns {Promise<Vkey>}
 */
export async function parseVkey(text) {
  // Base 64 may hold plus signs, a name and an ID may not.
  const [, name, id, data] = /^([^+]*)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]*)$/u.exec(text) ?? [];
  check(name !== undefined && id !== undefined && data !== undefined, "a vkey is name+8 lower-case hexadecimal digits+base64");
  checkName(name, "the name of a vkey");
  check(utf8(name).length <= MAX_NAME_BYTES, `the name of a vkey has more than ${MAX_NAME_BYTES} bytes`);
  const bytes = fromBase64(data, "the key of a vkey");
  const type = bytes[0] ?? 0;
  const length = KEY_LENGTH.get(type);
  check(length !== undefined, `vkey ${name}: signature type 0x${type.toString(16).padStart(2, "0")} is not known`);
  check(bytes.length === 1 + length, `vkey ${name}: the key has ${bytes.length - 1} bytes, not ${length}`);
  const hash = await sha256(utf8(`${name}\n`), bytes);
  check(equal(hash.subarray(0, 4), fromHex(id)), `vkey ${name}: the key ID is not that of the key`);
  return { name, id: fromHex(id), type, publicKey: bytes.slice(1), text };
}

/**
 * @param {Uint8Array} bytes a whole signed note
 * @returns {Note}
 */
export function parseNote(bytes) {
  check(bytes.length <= MAX_NOTE_BYTES, `the note has more than ${MAX_NOTE_BYTES} bytes`);
  const whole = fromUtf8(bytes, "the note");
  check(!/[\0-\x09\x0b-\x1f]/.test(whole), "the note holds a control character");
  const split = whole.lastIndexOf("\n\n");
  check(split >= 0, "the note has no empty line before its signatures");
  const lines = whole.slice(split + 2).split("\n");
  check(lines.pop() === "", "the note does not end in a newline");
  check(lines.length > 0, "the note has no signatures");
  check(lines.length <= MAX_SIGNATURES, `the note has more than ${MAX_SIGNATURES} signatures`);
  return { text: whole.slice(0, split + 1), signatures: lines.map(parseSignatureLine) };
}

/**
 * @param {string} line
 * @returns {SignatureLine}
 */
function parseSignatureLine(line) {
  const [, name, data] = /^— ([^ ]*) ([^ ]*)$/u.exec(line) ?? [];
  check(name !== undefined && data !== undefined, "a signature line is not an em dash, a name and base64, each after one space");
  checkName(name, "the name in a signature line");
  const bytes = fromBase64(data, `the signature of ${name}`);
  check(bytes.length > 4, `the signature of ${name} is nothing but a key ID`);
  return { name, id: bytes.slice(0, 4), signature: bytes.slice(4) };
}

/**
 * Verifies every line whose name and key ID are those of a key in `keys`, and ignores the others. One that does not verify refuses the
 * whole note: it says that somebody tampered.
 * @param {Note} note
 * @param {Vkey[]} keys
 * @returns {Promise<Signed[]>} in the order of the lines; it may be empty
 */
export async function verifyNote(note, keys) {
  /** @type {Signed[]} */
  const signed = [];
  for (const line of note.signatures) {
    const key = keys.find((candidate) => candidate.name === line.name && equal(candidate.id, line.id));
    if (key) signed.push(await verifyLine(note.text, line, key));
  }
  return signed;
}

/**
 * @param {string} text
 * @param {SignatureLine} line
 * @param {Vkey} key
 * @returns {Promise<Signed>}
 */
async function verifyLine(text, line, key) {
  check(line.signature.length === SIGNATURE_LENGTH.get(key.type), `the signature of ${key.name} has the wrong length`);
  let [time, signature, message] = [/** @type {bigint | null} */ (null), line.signature, utf8(text)];
  if (key.type !== TYPE.ed25519) {
    time = fromBe(signature.subarray(0, 8));
    check(time <= MAX_TIME, `the time of ${key.name}'s cosignature is beyond 2^63 − 1`);
    signature = signature.slice(8);
    message = concat(utf8(`cosignature/v1\ntime ${time}\n`), message);
  }
  if (key.type === TYPE.mlDsa44) return { key, time, checked: false };
  check(await verifyEd25519(key.publicKey, signature, message), `the signature of ${key.name} does not verify`);
  return { key, time, checked: true };
}
