// Slow definitions to judge the verifier by: RFC 6962 §2.1 as it is written, and the trie of vindex.md §4 by recursion over sets of pairs.
import { toBase64 } from "../src/base64.js";
import { be64, concat, equal, hex, sha256, utf8, uv } from "../src/bytes.js";

/** MTH over leaf hashes. */
export async function mth(leaves) {
  if (leaves.length === 0) return sha256();
  if (leaves.length === 1) return leaves[0];
  const k = split(leaves.length);
  return sha256(Uint8Array.of(1), await mth(leaves.slice(0, k)), await mth(leaves.slice(k)));
}

/** PATH(m, D[n]) of RFC 6962 §2.1.1. */
export async function path(m, leaves) {
  if (leaves.length <= 1) return [];
  const k = split(leaves.length);
  return m < k
    ? [...(await path(m, leaves.slice(0, k))), await mth(leaves.slice(k))]
    : [...(await path(m - k, leaves.slice(k))), await mth(leaves.slice(0, k))];
}

/** PROOF(m, D[n]) of RFC 6962 §2.1.2. */
export async function consistency(m, leaves, complete = true) {
  if (m === leaves.length) return complete ? [] : [await mth(leaves)];
  const k = split(leaves.length);
  return m <= k
    ? [...(await consistency(m, leaves.slice(0, k), complete)), await mth(leaves.slice(k))]
    : [...(await consistency(m - k, leaves.slice(k), false)), await mth(leaves.slice(0, k))];
}

/** The roots of the complete subtrees of a tree, largest first. */
export async function subtrees(leaves) {
  const roots = [];
  for (let rest = leaves; rest.length > 0; ) {
    let k = 1;
    while (k * 2 <= rest.length) k *= 2;
    roots.push(await mth(rest.slice(0, k)));
    rest = rest.slice(k);
  }
  return roots;
}

function split(n) {
  let k = 1;
  while (k * 2 < n) k *= 2;
  return k;
}

const bitAt = (key, bit) => (key[Math.floor(bit / 8)] >> (7 - (bit % 8))) % 2;

/** The root of a trie over [key, value] pairs. */
export async function trieRoot(pairs) {
  if (pairs.length === 0) return sha256();
  if (pairs.length === 1) return sha256(Uint8Array.of(0), uv(32n), pairs[0][0], uv(48n), pairs[0][1]);
  const [bit, left, right] = fork(pairs);
  return sha256(Uint8Array.of(1), uv(BigInt(bit)), await trieRoot(left), await trieRoot(right));
}

function fork(pairs) {
  let bit = 0;
  while (pairs.every(([key]) => bitAt(key, bit) === bitAt(pairs[0][0], bit))) bit++;
  return [bit, pairs.filter(([key]) => bitAt(key, bit) === 0), pairs.filter(([key]) => bitAt(key, bit) === 1)];
}

/** The pair that is reached by the bits of a key, and the steps back up. */
async function descend(pairs, key) {
  if (pairs.length === 1) return [pairs[0], []];
  const [bit, left, right] = fork(pairs);
  const [on, off] = bitAt(key, bit) === 0 ? [left, right] : [right, left];
  const [pair, steps] = await descend(on, key);
  return [pair, [...steps, uv(BigInt(bit)), await trieRoot(off)]];
}

/** A trie proof for a key, and its value, null where it is absent. */
export async function trieProof(pairs, key) {
  if (pairs.length === 0) return { value: null, proof: new Uint8Array() };
  const [[other, value], steps] = await descend(pairs, key);
  if (equal(other, key)) return { value, proof: concat(...steps) };
  return { value: null, proof: concat(uv(32n), other, uv(48n), value, ...steps) };
}

export const leaf = (bytes) => sha256(Uint8Array.of(0), bytes);

/** A log of entries that anchors its index wherever it is told to. `keys` is a map function. */
export class ModelLog {
  entries = [];
  leaves = [];
  lists = new Map();

  constructor(origin, signer, mapFn, keys) {
    Object.assign(this, { origin, signer, mapFn, keys });
  }

  async add(entry) {
    const index = this.entries.length;
    for (const key of await this.keys(entry)) {
      const list = this.lists.get(hex(key)) ?? { key, indices: [] };
      this.lists.set(hex(key), { key, indices: [...list.indices, index] });
    }
    this.entries.push(entry);
    this.leaves.push(await leaf(entry));
    return index;
  }

  /** Appends an anchor and remembers the index as it was; `change` may alter the pairs, to make a wrong one. */
  async anchor(change = (pairs) => pairs) {
    const index = this.entries.length;
    const pairs = await change(await Promise.all([...this.lists.values()].map(async ({ key, indices }) => [key, await valueBytes(indices)])));
    const root = hex(await trieRoot(pairs));
    await this.add(utf8(`{"map_fn":${JSON.stringify(this.mapFn)},"root":"${root}","tree_size":${index},"type":"vindex-root","v":1}`));
    return { index, pairs };
  }

  voidAnchor() {
    return this.add(utf8(`{"map_fn":"${this.mapFn}","root":null,"tree_size":${this.entries.length},"type":"vindex-root","v":1}`));
  }

  async checkpoint() {
    const text = `${this.origin}\n${this.leaves.length}\n${toBase64(await mth(this.leaves))}\n`;
    return `${text}\n${await this.signer.sign(text)}`;
  }

  /** A tlog-proof file for the entry at `index`. */
  async proofFile(index, extra = null) {
    const hashes = this.leaves.length === 0 ? [] : await path(index, this.leaves);
    const head = extra === null ? [] : [`extra ${toBase64(extra)}`];
    const lines = ["c2sp.org/tlog-proof@v1", ...head, `index ${index}`, ...hashes.map(toBase64), ""];
    return utf8(`${lines.join("\n")}\n${await this.checkpoint()}`);
  }

  /** `given` of vindex.md §8. */
  async given(index) {
    const hashes = await path(index, this.leaves);
    return concat(uv(BigInt(index)), counted(this.entries[index]), uv(BigInt(hashes.length)), ...hashes);
  }

  /** A lookup proof file. `list` is { indices, start }, `entries` a list of indices; as bytes, these and all other `parts` replace what stands there. */
  async lookupFile({ index, pairs }, key, { list = null, entries = [], ...parts } = {}) {
    const { value, proof } = await trieProof(pairs, key);
    const tail = this.entries.slice(index + 1);
    const form = {
      magic: utf8(`VIX1${value ? "\x01" : "\0"}`),
      question: concat(Uint8Array.of(0), key),
      value: value ?? new Uint8Array(),
      trie: counted(proof),
      list: value ? (list?.indices ? await listEnd(list.indices, list.start) : Uint8Array.of(0)) : new Uint8Array(),
      tail: concat(uv(BigInt(tail.length)), ...tail.map(counted)),
      entries: value && Array.isArray(entries) ? concat(uv(BigInt(entries.length)), ...(await Promise.all(entries.map((i) => this.given(i))))) : new Uint8Array(),
      ...Object.fromEntries(Object.entries({ list, entries, ...parts }).filter(([, part]) => part instanceof Uint8Array)),
    };
    return this.proofFile(index, concat(...Object.values(form)));
  }
}

export function counted(bytes) {
  return concat(uv(BigInt(bytes.length)), bytes);
}

const elementLeaves = (indices) => Promise.all(indices.map((i) => leaf(be64(BigInt(i)))));

export async function valueBytes(indices) {
  return concat(be64(BigInt(indices.length)), be64(BigInt(indices.at(-1))), await mth(await elementLeaves(indices)));
}

/** `list` of vindex.md §8. */
async function listEnd(indices, start) {
  const roots = await subtrees((await elementLeaves(indices)).slice(0, start));
  return concat(Uint8Array.of(1), uv(BigInt(start)), ...roots, ...indices.slice(start).map((i) => be64(BigInt(i))));
}

/** `element` of vindex.md §9. */
export async function element(indices, position) {
  const hashes = await path(position, await elementLeaves(indices));
  return concat(uv(BigInt(position)), be64(BigInt(indices[position])), uv(BigInt(hashes.length)), ...hashes);
}
