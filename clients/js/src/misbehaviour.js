// Proofs that a log signed a wrong index (docs/spec/vindex.md §9).

import { be64, check, fromUtf8, Reader } from "./bytes.js";
import { maps, readGiven, readHashes, readTrie } from "./lookup.js";
import { leafHash, verifyInclusion } from "./merkle.js";
import { verifyCheckpoint } from "./policy.js";
import { parseProof } from "./proof.js";
import { absentRoot, anchorBytes, anchorForm, isPossible, mapFunction, MAX_ENTRY_BYTES, parseValue, presentRoot } from "./vindex.js";

/** @import { Bytes } from "./bytes.js" */
/** @import { GivenEntry } from "./lookup.js" */
/** @import { Vkey } from "./note.js" */
/** @import { VerifiedCheckpoint } from "./policy.js" */
/** @import { Value } from "./vindex.js" */

/** @typedef {"omitted" | "stale" | "skipped" | "foreign" | "disorder" | "wrong last" | "impossible" | "misplaced" | "another map_fn"} Fault */
/** The log's keys and the name of its map function, from the verifier's own configuration. @typedef {{ origin: string, keys: Vkey[], mapFn: string }} LogPins */
/** @typedef {{ position: bigint, element: bigint }} Element proven */

const MAGIC = "VIM1";
/** @type {Fault[]} by their number, from 1 */
const FAULTS = ["omitted", "stale", "skipped", "foreign", "disorder", "wrong last", "impossible", "misplaced", "another map_fn"];

/**
 * Refuses unless the file proves that the log signed a wrong index.
 * @param {Uint8Array} bytes the file
 * @param {LogPins} pins
 * @returns {Promise<{ fault: Fault, anchor: bigint, entry: bigint | null, checkpoint: VerifiedCheckpoint }>} what is wrong with
 *   the anchor at that index, and at which index the entry stands that shows it, if one does
 */
export async function verifyMisbehaviour(bytes, pins) {
  const proof = parseProof(bytes);
  const reader = new Reader(proof.extra ?? new Uint8Array());
  check(fromUtf8(reader.take(4, "the extra data"), "the extra data") === MAGIC, "the proof is not one of misbehaviour");
  const fault = FAULTS[reader.byte("the fault") - 1];
  check(fault, "the fault is none that is known");
  check(proof.checkpoint.origin === pins.origin, "the checkpoint is of another log");
  const policy = { logs: pins.keys, witnesses: [], quorum: null, splittable: false };
  const checkpoint = await verifyCheckpoint(proof.checkpoint, policy, { now: 0 });
  const include = async (/** @type {Uint8Array} */ entry) =>
    verifyInclusion(await leafHash(entry), proof.index, checkpoint.size, proof.hashes, checkpoint.root);

  let shown = null;
  if (fault === "misplaced" || fault === "another map_fn") {
    const entry = reader.counted(MAX_ENTRY_BYTES, "the anchor");
    reader.end("the proof of misbehaviour");
    const anchor = anchorForm(entry);
    check(anchor, "the entry is not of anchor form");
    check(fault === "misplaced" ? anchor.treeSize !== proof.index : anchor.mapFn !== pins.mapFn, "the anchor says what it should");
    await include(entry);
  } else {
    const claim = await readClaim(reader, fault);
    reader.end("the proof of misbehaviour");
    await include(anchorBytes(pins.mapFn, claim.root, proof.index));
    if (claim.given) await checkGiven(claim.given, claim.key, fault, pins.mapFn, proof.index, checkpoint);
    check(holds(fault, claim, proof.index), "what is shown is no misbehaviour");
    shown = claim.given?.index ?? null;
  }
  return { fault, anchor: proof.index, entry: shown, checkpoint };
}

/**
 * @typedef {{ key: Bytes, value: Value | null, root: Bytes, given: GivenEntry | null, elements: Element[] }} Claim
 * @param {Reader} reader
 * @param {Fault} fault
 * @returns {Promise<Claim>}
 */
async function readClaim(reader, fault) {
  const key = reader.take(32, "the key");
  const raw = fault === "omitted" ? null : reader.take(48, "the value");
  const trie = readTrie(reader);
  const { root } = raw === null ? await absentRoot(key, trie) : { root: await presentRoot(key, raw, trie) };
  const value = raw && parseValue(raw);
  const given = ["omitted", "stale", "skipped", "foreign"].includes(fault) ? readGiven(reader) : null;
  let number = { disorder: 2, foreign: 1, "wrong last": 1 }[/** @type {string} */ (fault)] ?? 0;
  if (fault === "skipped") {
    number = reader.byte("the number of elements");
    check(number === 1 || number === 2, "one element or two show that a list passes over an index");
  }
  const elements = [];
  for (let i = 0; value && i < number; i++) elements.push(await readElement(reader, value));
  return { key, value, root, given, elements };
}

/**
 * @param {Reader} reader
 * @param {Value} value
 * @returns {Promise<Element>}
 */
async function readElement(reader, value) {
  const position = reader.uv("the position of an element");
  const element = reader.be64("an element");
  await verifyInclusion(await leafHash(be64(element)), position, value.count, readHashes(reader), value.root);
  return { position, element };
}

/**
 * @param {GivenEntry} given
 * @param {Bytes} key
 * @param {Fault} fault
 * @param {string} mapFn
 * @param {bigint} anchor
 * @param {VerifiedCheckpoint} checkpoint
 */
async function checkGiven(given, key, fault, mapFn, anchor, checkpoint) {
  check(given.index < anchor, "the given entry does not stand before the anchor");
  await verifyInclusion(await leafHash(given.bytes), given.index, checkpoint.size, given.hashes, checkpoint.root);
  const mapped = await maps(mapFunction(mapFn), given.bytes, key);
  check(mapped === (fault !== "foreign"), mapped ? "the given entry maps to the key" : "the given entry does not map to the key");
}

/**
 * @param {Fault} fault
 * @param {Claim} claim all of it proven
 * @param {bigint} anchor
 * @returns {boolean} whether it is the fault that it is said to be
 */
function holds(fault, { value, given, elements: [first, second] }, anchor) {
  if (fault === "omitted") return true;
  if (value === null) return false;
  const neighbours = first && second && second.position === first.position + 1n;
  switch (fault) {
    case "stale": return given !== null && value.last < given.index;
    case "foreign": return given !== null && first?.element === given.index;
    case "disorder": return neighbours === true && first.element >= second.element;
    case "wrong last": return first?.position === value.count - 1n && first.element !== value.last;
    case "impossible": return !isPossible(value, anchor);
    case "skipped":
      if (!given || !first) return false;
      if (!second) return first.position === 0n && first.element > given.index;
      return neighbours === true && first.element < given.index && second.element > given.index;
    default: return false;
  }
}
