// The verifiable index (docs/spec/vindex.md §2 to §6): keys, map functions, values, trie proofs, anchors, lists.

import { be64, check, concat, equal, fromBe, hex, Reader, Refused, sha256, utf8, uv } from "./bytes.js";
import { condaNames } from "./conda.js";
import { canonicalObject, natural, scanJson } from "./json.js";
import { CompactRange, emptyRoot, leafHash } from "./merkle.js";

/** @import { Bytes } from "./bytes.js" */
/** @import { JsonObject } from "./types.d.ts" */

/**
 * A map function: `keys` gives the keys of an entry, none for an entry that it cannot read. The first of `kinds` is the default.
 * @typedef {{ name: string, kinds: string[], keys: (entry: Uint8Array) => Promise<Bytes[]> }} MapFunction
 */
/** What the index holds for a key. @typedef {{ count: bigint, last: bigint, root: Bytes }} Value */
/** @typedef {{ mapFn: string, root: string | null, treeSize: bigint }} AnchorForm */

export const MAX_ENTRY_BYTES = 65_535;
export const MAX_TREE_SIZE = 9_007_199_254_740_991n;
const MAX_NAME_BYTES = 65_535;

/**
 * @param {string} name `conda-1`, or `json-field:` and the name of a member
 * @returns {MapFunction}
 */
export function mapFunction(name) {
  if (name === "conda-1") {
    const keys = (/** @type {Uint8Array} */ entry) => Promise.all(condaNames(entry).map(([kind, key]) => hashName(kind, key)));
    return { name, kinds: ["path", "name", "artifact", "subdir", "repo"], keys: ordinary(keys) };
  }
  const field = /^json-field:(.+)$/su.exec(name)?.[1];
  check(field !== undefined && !/\p{Surrogate}/u.test(name), "the map function is not conda-1 or json-field:<member>");
  const keys = async (/** @type {Uint8Array} */ entry) => {
    const value = jsonField(entry, field);
    return value === null ? [] : [await sha256(utf8(value))];
  };
  return { name, kinds: [], keys: ordinary(keys) };
}

/**
 * What a log says about its own index maps to nothing.
 * @param {MapFunction["keys"]} keys
 * @returns {MapFunction["keys"]}
 */
function ordinary(keys) {
  return async (entry) => (anchorForm(entry) || isDisavowForm(entry) ? [] : keys(entry));
}

/**
 * @param {Uint8Array} entry
 * @param {string} field
 * @returns {string | null} the member, if every reader of the entry finds this string in it
 */
function jsonField(entry, field) {
  try {
    const { value, broken } = scanJson(entry);
    const ambiguous = broken.some((rule) => rule === "depth" || rule === "surrogate" || rule === "duplicate");
    const member = value instanceof Map && !ambiguous ? value.get(field) : undefined;
    return typeof member === "string" ? member : null;
  } catch (error) {
    if (error instanceof Refused) return null;
    throw error;
  }
}

/**
 * @param {MapFunction} map
 * @param {string} kind empty for a function without kinds
 * @param {string} name
 * @returns {Promise<Bytes>} the key
 */
export async function keyOf(map, kind, name) {
  check(map.kinds.length === 0 ? kind === "" : map.kinds.includes(kind), `the map function ${map.name} has no such kind`);
  check(!/\p{Surrogate}/u.test(name) && utf8(name).length <= MAX_NAME_BYTES, "a name is at most 65,535 bytes of UTF-8");
  return kind === "" ? sha256(utf8(name)) : hashName(kind, name);
}

/**
 * @param {string} kind
 * @param {string} name
 */
function hashName(kind, name) {
  return sha256(utf8(`${kind}\0${name}`));
}

/**
 * @param {Uint8Array} bytes 48 of them
 * @returns {Value}
 */
export function parseValue(bytes) {
  check(bytes.length === 48, `a value has ${bytes.length} bytes, not 48`);
  return { count: fromBe(bytes.subarray(0, 8)), last: fromBe(bytes.subarray(8, 16)), root: new Uint8Array(bytes.subarray(16)) };
}

/**
 * @param {Value} value
 * @param {bigint} treeSize
 * @returns {boolean} whether a list over the entries [0, treeSize) can have this value
 */
export function isPossible({ count, last }, treeSize) {
  return count >= 1n && last < treeSize && count <= last + 1n;
}

/**
 * @param {Uint8Array} key
 * @param {Uint8Array} value 48 bytes
 * @param {Uint8Array} proof
 * @returns {Promise<Bytes>} the root of the trie in which, by the proof, the key has this value
 */
export async function presentRoot(key, value, proof) {
  check(key.length === 32, `a key has ${key.length} bytes, not 32`);
  check(value.length === 48, `a value has ${value.length} bytes, not 48`);
  return climb(key, value, parseSteps(new Reader(proof)));
}

/**
 * @param {Uint8Array} key
 * @param {Uint8Array} proof
 * @returns {Promise<{ root: Bytes, other: Value | null }>} the root of the trie in which, by the proof, the key is absent, and the value of
 *   the leaf that stands in its way
 */
export async function absentRoot(key, proof) {
  check(key.length === 32, `a key has ${key.length} bytes, not 32`);
  if (proof.length === 0) return { root: await emptyRoot(), other: null };
  const reader = new Reader(proof);
  check(reader.uv("the length of the other key") === 32n, "the other key does not have 32 bytes");
  const other = reader.take(32, "the other key");
  check(reader.uv("the length of the other value") === 48n, "the other value does not have 48 bytes");
  const value = reader.take(48, "the other value");
  const steps = parseSteps(reader);
  check(!equal(other, key), "the other key is the key itself");
  check(steps.every(({ bit }) => bitOf(other, bit) === bitOf(key, bit)), "the other key differs from the key at a bit of the proof");
  return { root: await climb(other, value, steps), other: parseValue(value) };
}

/**
 * @param {Reader} reader
 * @returns {{ bit: number, sibling: Bytes }[]}
 */
function parseSteps(reader) {
  const steps = [];
  let above = 256n;
  while (reader.left > 0) {
    const bit = reader.uv("a bit of the trie proof");
    check(bit < above, "the bits of the trie proof are not decreasing from below 256");
    above = bit;
    steps.push({ bit: Number(bit), sibling: reader.take(32, "a sibling of the trie proof") });
  }
  return steps;
}

/**
 * @param {Uint8Array} key
 * @param {Uint8Array} value
 * @param {{ bit: number, sibling: Bytes }[]} steps
 */
async function climb(key, value, steps) {
  let hash = await sha256(Uint8Array.of(0), uv(32n), key, uv(48n), value);
  for (const { bit, sibling } of steps) {
    const pair = bitOf(key, bit) === 0 ? [hash, sibling] : [sibling, hash];
    hash = await sha256(Uint8Array.of(1), uv(BigInt(bit)), ...pair);
  }
  return hash;
}

/**
 * @param {Uint8Array} key
 * @param {number} bit 0 is the most significant of the first byte
 */
function bitOf(key, bit) {
  return ((key[bit >> 3] ?? 0) >> (7 - (bit & 7))) & 1;
}

/**
 * @param {string} mapFn
 * @param {Uint8Array | null} root null for a void anchor
 * @param {bigint} treeSize 0 to 2^53 − 1
 * @returns {Bytes} the anchor, as an entry
 */
export function anchorBytes(mapFn, root, treeSize) {
  check(treeSize >= 0n && treeSize <= MAX_TREE_SIZE, "an anchor stands at most at 2^53 − 1");
  const value = root === null ? "null" : `"${hex(root)}"`;
  return utf8(`{"map_fn":${JSON.stringify(mapFn)},"root":${value},"tree_size":${treeSize},"type":"vindex-root","v":1}`);
}

/**
 * @param {Uint8Array} entry
 * @returns {AnchorForm | null} what the entry says, if it is of anchor form
 */
export function anchorForm(entry) {
  const members = exactMembers(entry, "vindex-root", ["map_fn", "root", "tree_size", "type", "v"]);
  const [mapFn, root, treeSize] = [members?.get("map_fn"), members?.get("root"), natural(members?.get("tree_size"))];
  const rootFits = root === null || (typeof root === "string" && /^[0-9a-f]{64}$/.test(root));
  return typeof mapFn === "string" && rootFits && treeSize !== null ? { mapFn, root, treeSize } : null;
}

/**
 * @param {Uint8Array} entry
 * @returns {boolean} whether by this entry a log disavows anchors of its own
 */
export function isDisavowForm(entry) {
  const positions = exactMembers(entry, "vindex-disavow", ["positions", "type", "v"])?.get("positions");
  return Array.isArray(positions) && positions.every((position) => natural(position) !== null);
}

/**
 * @param {Uint8Array} entry
 * @param {string} type
 * @param {string[]} names
 * @returns {JsonObject | null} the members of a canonical object of this type, version 1, with exactly these members
 */
function exactMembers(entry, type, names) {
  try {
    const members = canonicalObject(entry);
    const exact = members.size === names.length && names.every((name) => members.has(name));
    return exact && members.get("type") === type && natural(members.get("v")) === 1n ? members : null;
  } catch (error) {
    if (error instanceof Refused) return null;
    throw error;
  }
}

/** A list that is read from some position on, in one go or page by page; nothing in it is believed until {@link agrees}. */
export class ListReader {
  #tree;
  /** @type {bigint[]} */
  elements = [];

  /**
   * @param {bigint} [start] the position of the first element that will be read
   * @param {Bytes[]} [roots] of the subtrees that the elements before it consist of, largest first
   */
  constructor(start = 0n, roots = []) {
    this.#tree = CompactRange.of(start, roots);
  }

  /**
   * @param {bigint[]} page the next elements
   * @returns {Promise<void>}
   */
  async append(page) {
    for (const element of page) {
      const before = this.elements.at(-1);
      check(before === undefined || before < element, "the list is not ascending");
      this.elements.push(element);
      await this.#tree.append(await leafHash(be64(element)));
    }
  }

  /**
   * Refuses unless what was read ends the list of `value`.
   * @param {Value} value proven with the last page
   * @returns {Promise<void>}
   */
  async agrees(value) {
    check(this.elements.length > 0, "nothing is given of the list");
    check(this.#tree.size === value.count, "the list does not have the length that is proven");
    check(this.elements.at(-1) === value.last, "the list does not end in the element that is proven");
    check(equal(await this.#tree.root(), value.root), "the list does not have the root that is proven");
  }
}

/**
 * @param {bigint[]} list ascending
 * @returns {Promise<Bytes>} its value, 48 bytes
 */
export async function valueOf(list) {
  const tree = new CompactRange();
  for (const element of list) await tree.append(await leafHash(be64(element)));
  const last = list.at(-1);
  check(last !== undefined, "a list that is empty has no value");
  return concat(be64(BigInt(list.length)), be64(last), await tree.root());
}
