// The Merkle tree of RFC 6962 §2.1; the proofs are checked by the algorithms of RFC 9162 §2.1.3.2 and §2.1.4.2.
// Sizes and indices are bigints of up to 64 bits.

import { check, equal, sha256 } from "./bytes.js";

/** @import { Bytes } from "./bytes.js" */

const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);

/**
 * @param {Uint8Array} data
 * @returns {Promise<Bytes>}
 */
export function leafHash(data) {
  return sha256(LEAF, data);
}

/**
 * @param {Uint8Array} left
 * @param {Uint8Array} right
 * @returns {Promise<Bytes>}
 */
export function nodeHash(left, right) {
  return sha256(NODE, left, right);
}

/** @returns {Promise<Bytes>} the root of a tree without leaves */
export function emptyRoot() {
  return sha256();
}

/**
 * Refuses unless `proof` shows that `leaf` is the leaf hash at `index` of the tree of `size` leaves with this root.
 * @param {Uint8Array} leaf
 * @param {bigint} index
 * @param {bigint} size
 * @param {Uint8Array[]} proof from the leaf's sibling up
 * @param {Uint8Array} root
 * @returns {Promise<void>}
 */
export async function verifyInclusion(leaf, index, size, proof, root) {
  check(index >= 0n && index < size, `index ${index} is not in a tree of size ${size}`);
  let [fn, sn, hash] = [index, size - 1n, leaf];
  for (const sibling of proof) {
    check(sn > 0n, "the inclusion proof is too long");
    if ((fn & 1n) === 1n || fn === sn) {
      hash = await nodeHash(sibling, hash);
      while ((fn & 1n) === 0n && fn !== 0n) [fn, sn] = [fn >> 1n, sn >> 1n];
    } else {
      hash = await nodeHash(hash, sibling);
    }
    [fn, sn] = [fn >> 1n, sn >> 1n];
  }
  check(sn === 0n, "the inclusion proof is too short");
  check(equal(hash, root), "the inclusion proof does not lead to the root");
}

/**
 * Refuses unless `proof` shows that the tree of size `from` is a prefix of the tree of size `to`.
 * @param {bigint} from
 * @param {Uint8Array} fromRoot
 * @param {bigint} to
 * @param {Uint8Array} toRoot
 * @param {Uint8Array[]} proof
 * @returns {Promise<void>}
 */
export async function verifyConsistency(from, fromRoot, to, toRoot, proof) {
  check(from >= 0n && from <= to, `a tree of size ${to} does not extend one of size ${from}`);
  if (from === 0n || from === to) {
    check(proof.length === 0, "the consistency proof is too long");
    check(equal(fromRoot, from === to ? toRoot : await emptyRoot()), "the roots are not consistent");
    return;
  }
  // A tree that is complete is a subtree of the larger one: its root begins the proof and is left out of it.
  const path = (from & (from - 1n)) === 0n ? [fromRoot, ...proof] : proof;
  const [first, ...rest] = path;
  check(first !== undefined && proof.length > 0, "the consistency proof is too short");
  let [fn, sn] = [from - 1n, to - 1n];
  while ((fn & 1n) === 1n) [fn, sn] = [fn >> 1n, sn >> 1n];
  let [old, fresh] = [first, first];
  for (const sibling of rest) {
    check(sn > 0n, "the consistency proof is too long");
    if ((fn & 1n) === 1n || fn === sn) {
      old = await nodeHash(sibling, old);
      fresh = await nodeHash(sibling, fresh);
      while ((fn & 1n) === 0n && fn !== 0n) [fn, sn] = [fn >> 1n, sn >> 1n];
    } else {
      fresh = await nodeHash(fresh, sibling);
    }
    [fn, sn] = [fn >> 1n, sn >> 1n];
  }
  check(sn === 0n, "the consistency proof is too short");
  check(equal(old, fromRoot), "the consistency proof does not lead to the old root");
  check(equal(fresh, toRoot), "the consistency proof does not lead to the new root");
}

/**
 * A tree that is read leaf by leaf, as the roots of its complete subtrees, largest first (a *compact range* from 0).
 */
export class CompactRange {
  /** @type {{ height: number, hash: Bytes }[]} */
  #peaks = [];
  /** How many leaves were appended. */
  size = 0n;

  /**
   * @param {bigint} size
   * @param {Bytes[]} roots of the complete subtrees that a tree of this size consists of, largest first
   * @returns {CompactRange}
   */
  static of(size, roots) {
    const range = new CompactRange();
    for (let height = 63; height >= 0; height--) {
      if (((size >> BigInt(height)) & 1n) === 0n) continue;
      const hash = roots[range.#peaks.length];
      check(hash, "there are fewer roots of subtrees than the size has 1 bits");
      range.#peaks.push({ height, hash });
    }
    check(range.#peaks.length === roots.length, "there are more roots of subtrees than the size has 1 bits");
    range.size = size;
    return range;
  }

  /**
   * @param {Bytes} leaf a leaf hash
   * @returns {Promise<void>}
   */
  async append(leaf) {
    let peak = { height: 0, hash: leaf };
    for (let last = this.#peaks.at(-1); last?.height === peak.height; last = this.#peaks.at(-1)) {
      this.#peaks.pop();
      peak = { height: peak.height + 1, hash: await nodeHash(last.hash, peak.hash) };
    }
    this.#peaks.push(peak);
    this.size += 1n;
  }

  /** @returns {Promise<Bytes>} the root over what was appended */
  async root() {
    let hash = this.#peaks.at(-1)?.hash;
    if (hash === undefined) return emptyRoot();
    for (const peak of this.#peaks.slice(0, -1).reverse()) hash = await nodeHash(peak.hash, hash);
    return hash;
  }
}
