// Lookups in the verifiable index and their proof files (docs/spec/vindex.md §7 and §8).

import { check, equal, fromUtf8, Reader } from "./bytes.js";
import { CompactRange, leafHash, verifyInclusion } from "./merkle.js";
import { verifyCheckpoint } from "./policy.js";
import { parseProof } from "./proof.js";
import {
  absentRoot, anchorBytes, anchorForm, isDisavowForm, isPossible, keyOf, ListReader, mapFunction, MAX_ENTRY_BYTES, parseValue, presentRoot,
} from "./vindex.js";

/** @import { Bytes } from "./bytes.js" */
/** @import { ParsedCheckpoint } from "./checkpoint.js" */
/** @import { Policy, VerifiedCheckpoint, When } from "./policy.js" */
/** @import { ParsedProof } from "./proof.js" */
/** @import { MapFunction } from "./vindex.js" */

const MAGIC = "VIX1";
const MAX_TAIL = 4096;
const MAX_TAIL_BYTES = 4 << 20;
const MAX_TRIE_BYTES = 16_384;
const MAX_HASHES = 64;
const MAX_KIND_BYTES = 16;
/** The shortest given entry: an index, a length, and one hash with the number of them; the anchor is in the tree too, so none is proven without. */
const MIN_GIVEN_BYTES = 35;

/** What a verifier knows from its own configuration, never from an answer. @typedef {{ origin: string, policy: Policy, mapFn: string }} Pins */
/** The end of a list: its elements from position `start` on. @typedef {{ start: bigint, roots: Bytes[], elements: bigint[] }} ListEnd */
/** @typedef {{ index: bigint, bytes: Bytes, hashes: Bytes[] }} GivenEntry */
/**
 * What is handed to a verifier: nothing of it is believed. `value` null claims absence from the trie; `tail` is every entry after the anchor.
 * @typedef {{
 *   checkpoint: ParsedCheckpoint, index: bigint, hashes: Bytes[], trie: Bytes, value: Bytes | null,
 *   tail: Bytes[], list: ListEnd | null, entries: GivenEntry[],
 * }} Lookup
 */
/**
 * What the log holds about a key, as of its checkpoint: `count` entries, the newest at `last` (null if none). `newest` is as much of the end of
 * their list as is known: its last `newest.length` indices, ascending. `entries` are verified entries of it, ascending; `disavowed` says that
 * the tail holds a word of the log about wrong anchors of its own, which should be reported.
 * @typedef {{
 *   checkpoint: VerifiedCheckpoint, present: boolean, count: bigint, last: bigint | null, newest: bigint[],
 *   entries: { index: bigint, bytes: Bytes }[], disavowed: boolean,
 * }} Answer
 */
/** A question as a file holds it: a key, or the name that gives one. @typedef {{ key: Bytes } | { kind: string, name: string }} Question */
/** @typedef {{ proof: ParsedProof, question: Question, lookup: Lookup | null }} ParsedLookup `lookup` null: the file says that the log is empty */

/**
 * @param {Lookup} lookup
 * @param {Uint8Array} key
 * @param {Pins} pins
 * @param {When} when
 * @returns {Promise<Answer>}
 */
export async function verifyLookup(lookup, key, pins, when) {
  const { index, hashes, trie, tail } = lookup;
  const map = mapFunction(pins.mapFn);
  const checkpoint = await pinnedCheckpoint(lookup.checkpoint, pins, when);
  check(checkpoint.size > 0n, "the log is empty: there is no anchor in it");
  const value = lookup.value === null ? null : parseValue(lookup.value);
  const { root, other } = lookup.value === null ? await absentRoot(key, trie) : { root: await presentRoot(key, lookup.value, trie), other: null };
  const shown = value ?? other;
  check(shown === null || isPossible(shown, index), "no list before the anchor has the value that is shown");
  const anchor = await leafHash(anchorBytes(pins.mapFn, root, index));
  await verifyInclusion(anchor, index, checkpoint.size, hashes, checkpoint.root);
  await verifyTail(tail, anchor, index, hashes, checkpoint);
  const hits = await findHits(tail, index, key, map);
  const elements = !value ? [] : lookup.list ? await verifyList(lookup.list, value) : [value.last];
  check(value !== null || (lookup.list === null && lookup.entries.length === 0), "an absent key has no list and no entries");
  await verifyEntries(lookup.entries, elements, key, map, index, checkpoint);

  return {
    checkpoint,
    present: value !== null || hits.length > 0,
    count: (value?.count ?? 0n) + BigInt(hits.length),
    last: hits.at(-1)?.index ?? value?.last ?? null,
    newest: [...elements, ...hits.map((hit) => hit.index)],
    entries: [...lookup.entries.map(({ index: at, bytes }) => ({ index: at, bytes })), ...hits],
    disavowed: tail.some(isDisavowForm),
  };
}

/**
 * @param {ParsedCheckpoint} parsed
 * @param {Pins} pins
 * @param {When} when
 */
async function pinnedCheckpoint(parsed, pins, when) {
  check(parsed.origin === pins.origin, "the checkpoint is of another log");
  return verifyCheckpoint(parsed, pins.policy, when);
}

/**
 * Refuses unless `tail` is all that follows the anchor, and holds no newer anchor that says something (§7 rules 5 and 6, §7.1).
 * @param {Bytes[]} tail
 * @param {Bytes} anchor its leaf hash
 * @param {bigint} index the anchor's
 * @param {Bytes[]} hashes its inclusion proof, verified
 * @param {VerifiedCheckpoint} checkpoint
 */
async function verifyTail(tail, anchor, index, hashes, checkpoint) {
  check(BigInt(tail.length) === checkpoint.size - index - 1n, "the tail is not every entry after the anchor");
  check(tail.length <= MAX_TAIL, `the tail has more than ${MAX_TAIL} entries`);
  check(tail.every((entry) => entry.length <= MAX_ENTRY_BYTES), "an entry of the tail has more than 65,535 bytes");
  check(tail.reduce((sum, entry) => sum + entry.length, 0) <= MAX_TAIL_BYTES, "the tail has more than 4 MiB");
  // Above the highest bit in which the index and the tree's last one differ, the path runs along the right edge.
  const inner = (index ^ (checkpoint.size - 1n)).toString(2).replace(/^0$/, "").length;
  const left = hashes.filter((_, j) => j >= inner || ((index >> BigInt(j)) & 1n) === 1n);
  const tree = CompactRange.of(index, left.reverse());
  await tree.append(anchor);
  for (const entry of tail) {
    check(!anchorForm(entry)?.root, "the tail holds a newer anchor");
    await tree.append(await leafHash(entry));
  }
  check(equal(await tree.root(), checkpoint.root), "the tail does not end the tree");
}

/**
 * @param {Bytes[]} tail
 * @param {bigint} index the anchor's
 * @param {Uint8Array} key
 * @param {MapFunction} map
 */
async function findHits(tail, index, key, map) {
  const hits = [];
  for (const [i, bytes] of tail.entries()) {
    if (await maps(map, bytes, key)) hits.push({ index: index + 1n + BigInt(i), bytes });
  }
  return hits;
}

/**
 * @param {MapFunction} map
 * @param {Uint8Array} entry
 * @param {Uint8Array} key
 * @returns {Promise<boolean>}
 */
export async function maps(map, entry, key) {
  return (await map.keys(entry)).some((candidate) => equal(candidate, key));
}

/**
 * @param {ListEnd} list
 * @param {import("./vindex.js").Value} value
 */
async function verifyList({ start, roots, elements }, value) {
  check(start < value.count && BigInt(elements.length) === value.count - start, "the list does not have the length that is proven");
  const reader = new ListReader(start, roots);
  await reader.append(elements);
  await reader.agrees(value);
  return reader.elements;
}

/**
 * @param {GivenEntry[]} entries
 * @param {bigint[]} known verified elements of the key's list
 * @param {Uint8Array} key
 * @param {MapFunction} map
 * @param {bigint} index the anchor's
 * @param {VerifiedCheckpoint} checkpoint
 */
async function verifyEntries(entries, known, key, map, index, checkpoint) {
  const elements = new Set(known);
  let above = -1n;
  for (const entry of entries) {
    check(entry.index > above, "the given entries are not in ascending order");
    above = entry.index;
    check(entry.index < index, "a given entry stands at or after the anchor");
    check(entry.bytes.length <= MAX_ENTRY_BYTES, "a given entry has more than 65,535 bytes");
    check(elements.has(entry.index), "a given entry is not one that the list is known to hold");
    await verifyInclusion(await leafHash(entry.bytes), entry.index, checkpoint.size, entry.hashes, checkpoint.root);
    check(await maps(map, entry.bytes, key), "a given entry does not map to the key");
  }
}

/**
 * @param {Uint8Array} bytes a lookup proof file
 * @returns {ParsedLookup} nothing in it is verified
 */
export function parseLookup(bytes) {
  const proof = parseProof(bytes);
  const reader = new Reader(proof.extra ?? new Uint8Array());
  check(fromUtf8(reader.take(4, "the extra data"), "the extra data") === MAGIC, "the proof is not one of a lookup");
  const form = reader.byte("the form of the lookup");
  check(form <= 2, "the lookup is of no known form");
  const question = readQuestion(reader);
  const lookup = form === 2 ? null : readLookup(reader, proof, form === 1);
  reader.end("the lookup");
  return { proof, question, lookup };
}

/**
 * @param {Reader} reader
 * @returns {Question}
 */
function readQuestion(reader) {
  const form = reader.byte("the question");
  check(form <= 1, "the question is of no known form");
  if (form === 0) return { key: reader.take(32, "the key") };
  const kind = fromUtf8(reader.counted(MAX_KIND_BYTES, "the kind"), "the kind");
  return { kind, name: fromUtf8(reader.counted(MAX_ENTRY_BYTES, "the name"), "the name") };
}

/**
 * @param {Reader} reader
 * @param {ParsedProof} proof
 * @param {boolean} present
 * @returns {Lookup}
 */
function readLookup(reader, { checkpoint, index, hashes }, present) {
  const value = present ? reader.take(48, "the value") : null;
  const trie = readTrie(reader);
  const list = value && readList(reader, parseValue(value).count);
  const tail = readMany(reader, MAX_TAIL, "the tail", () => reader.counted(MAX_ENTRY_BYTES, "an entry of the tail"));
  const entries = present ? readMany(reader, Infinity, "the given entries", () => readGiven(reader), MIN_GIVEN_BYTES) : [];
  return { checkpoint, index, hashes, trie, value, list, tail, entries };
}

/**
 * @param {Reader} reader
 * @returns {Bytes}
 */
export function readTrie(reader) {
  return reader.counted(MAX_TRIE_BYTES, "the trie proof");
}

/**
 * @param {Reader} reader
 * @returns {GivenEntry}
 */
export function readGiven(reader) {
  const index = reader.uv("the index of a given entry");
  return { index, bytes: reader.counted(MAX_ENTRY_BYTES, "a given entry"), hashes: readHashes(reader) };
}

/**
 * @param {Reader} reader
 * @returns {Bytes[]}
 */
export function readHashes(reader) {
  return readMany(reader, MAX_HASHES, "an inclusion proof", () => reader.take(32, "a hash"));
}

/**
 * @template T
 * @param {Reader} reader
 * @param {number} max
 * @param {string} what
 * @param {() => T} one reads at least `bytes` bytes, or nothing that can be accepted
 * @param {number} [bytes]
 * @returns {T[]}
 */
function readMany(reader, max, what, one, bytes = 1) {
  const number = reader.uv(`the length of ${what}`);
  check(number <= max, `${what} has more than ${max} elements`);
  check(number * BigInt(bytes) <= reader.left, `${what} is cut off`);
  return Array.from({ length: Number(number) }, one);
}

/**
 * @param {Reader} reader
 * @param {bigint} count
 * @returns {ListEnd | null}
 */
function readList(reader, count) {
  const form = reader.byte("the list");
  check(form <= 1, "the list is of no known form");
  if (form === 0) return null;
  const start = reader.uv("the list's start");
  check(start < count, "the list begins behind its end");
  const ones = start.toString(2).replaceAll("0", "").length;
  const roots = Array.from({ length: ones }, () => reader.take(32, "a root in the list"));
  check((count - start) * 8n <= reader.left, "the list is cut off");
  return { start, roots, elements: Array.from({ length: Number(count - start) }, () => reader.be64("the list")) };
}

/**
 * @param {ParsedLookup} parsed
 * @param {Pins} pins
 * @param {When} when
 * @param {Uint8Array} [asked] the key that was asked for: an answer about another one is refused
 * @returns {Promise<Answer & { key: Bytes }>}
 */
export async function verifyLookupFile({ proof, question, lookup }, pins, when, asked) {
  const key = "key" in question ? question.key : await keyOf(mapFunction(pins.mapFn), question.kind, question.name);
  check(asked === undefined || equal(key, asked), "the proof answers another question");
  if (lookup !== null) return { key, ...(await verifyLookup(lookup, key, pins, when)) };
  const checkpoint = await pinnedCheckpoint(proof.checkpoint, pins, when);
  check(checkpoint.size === 0n, "the log is not empty");
  check(proof.index === 0n && proof.hashes.length === 0, "a proof in an empty log has index 0 and no hashes");
  return { key, checkpoint, present: false, count: 0n, last: null, newest: [], entries: [], disavowed: false };
}
