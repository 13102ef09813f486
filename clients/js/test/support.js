// What the tests share: files of the repository, vectors in its pages, refusals, and a signer. Runs in Node and in a browser.
import assert from "node:assert/strict";
import { toBase64 } from "../src/base64.js";
import { be64, concat, fromHex, hex, Refused, sha256, utf8 } from "../src/bytes.js";

export const inNode = typeof process !== "undefined";

/** The bytes of a file of the repository, by its path from the root. */
export async function readFile(path) {
  const url = new URL(`../../../${path}`, import.meta.url);
  if (inNode) return Uint8Array.from(await (await import("node:fs/promises")).readFile(url));
  const answer = await fetch(url);
  assert.ok(answer.ok, `${path}: ${answer.status}`);
  return new Uint8Array(await answer.arrayBuffer());
}

export async function readText(path) {
  return new TextDecoder().decode(await readFile(path));
}

/** The vectors under a heading of a page that begins with `section`; each maps a name to the list of its values. */
export async function vectors(path, section) {
  const page = await readText(path);
  const at = page.indexOf(`\n### ${section}`);
  assert.ok(at > 0, `${path} has no section ${section}`);
  const end = page.indexOf("\n### ", at + 1);
  const blocks = page.slice(at, end < 0 ? undefined : end).match(/^```vector\n[^]*?^```$/gm) ?? [];
  assert.ok(blocks.length > 0, `${path}: no vectors in ${section}`);
  return blocks.map((block) => parseBlock(block.split("\n").slice(1, -1)));
}

export function parseBlock(lines) {
  const block = new Map();
  for (const line of lines) {
    const [, name, value] = /^([a-z_0-9 ]+): ?(.*)$/su.exec(line) ?? assert.fail(`not name: value: ${line}`);
    block.set(name, [...(block.get(name) ?? []), value]);
  }
  return block;
}

/** The one value of a name in a block, as bytes: `name hex` is in hexadecimal, and `fill`, which `unit` makes text of, is applied to `name`. */
export function bytesOf(block, name, unit = (text) => text) {
  const digits = block.get(`${name} hex`)?.[0];
  if (digits !== undefined) return fromHex(digits);
  const text = block.get(name)?.[0];
  const fill = block.get("fill")?.[0];
  if (text === undefined || fill === undefined) return text === undefined ? undefined : utf8(text);
  const [, what, count] = /^(.*) ([0-9]+)$/su.exec(fill);
  return utf8(text.replaceAll("@", unit(what).repeat(Number(count))));
}

/** That `action` is refused, for a reason that matches. */
export async function refuses(action, reason, what = "") {
  await assert.rejects(async () => action(), (error) => {
    assert.ok(error instanceof Refused, `${what}: ${error.stack}`);
    assert.match(error.message, reason, what);
    return true;
  }, what || String(reason));
}

/** Every copy of `bytes` in which one bit is flipped. */
export function* flips(bytes) {
  for (let i = 0; i < bytes.length * 8; i++) {
    const flipped = bytes.slice();
    flipped[i >> 3] ^= 0x80 >> (i & 7);
    yield [i, flipped];
  }
}

/** A key pair under a name, of type 0x01 or 0x04. */
export async function makeSigner(name, type = 0x01) {
  const pair = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]);
  const key = concat(Uint8Array.of(type), new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey)));
  const id = (await sha256(utf8(`${name}\n`), key)).slice(0, 4);
  const sign = async (text, time) => {
    const header = type === 0x04 ? utf8(`cosignature/v1\ntime ${time}\n`) : new Uint8Array();
    const signature = new Uint8Array(await crypto.subtle.sign("Ed25519", pair.privateKey, concat(header, utf8(text))));
    const stamp = type === 0x04 ? be64(BigInt(time)) : new Uint8Array();
    return `— ${name} ${toBase64(concat(id, stamp, signature))}\n`;
  };
  return { name, vkey: `${name}+${hex(id)}+${toBase64(key)}`, sign };
}

/** A signed checkpoint; each of `lines` is a signature line. */
export function checkpointText(origin, size, root) {
  return `${origin}\n${size}\n${toBase64(root)}\n`;
}
