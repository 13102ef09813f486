// Proof files (c2sp.org/tlog-proof).

import { fromBase64 } from "./base64.js";
import { check, decimal, fromUtf8, utf8 } from "./bytes.js";
import { parseCheckpoint } from "./checkpoint.js";
import { verifyInclusion } from "./merkle.js";
import { verifyCheckpoint } from "./policy.js";

/** @import { Bytes } from "./bytes.js" */
/** @import { ParsedCheckpoint } from "./checkpoint.js" */
/** @import { Policy, VerifiedCheckpoint, When } from "./policy.js" */

const MAGIC = "c2sp.org/tlog-proof@v1";
// The path in a tree of 2^64 leaves.
const MAX_HASHES = 64;
// vindex.md §11.
const MAX_BYTES = 64 << 20;

/**
 * A proof file as it was read: nothing is verified. `extra` is authenticated by nobody.
 * @typedef {{ extra: Bytes | null, index: bigint, hashes: Bytes[], checkpoint: ParsedCheckpoint }} ParsedProof
 */

/**
 * @param {Uint8Array} bytes a `.tlog-proof` file
 * @returns {ParsedProof}
 */
export function parseProof(bytes) {
  check(bytes.length <= MAX_BYTES, `the proof has more than ${MAX_BYTES} bytes`);
  const text = fromUtf8(bytes, "the proof");
  const split = text.indexOf("\n\n");
  check(split >= 0, "the proof has no empty line before its checkpoint");
  const lines = text.slice(0, split).split("\n");
  check(lines.shift() === MAGIC, `the proof does not begin with ${MAGIC}`);
  let extra = null;
  if (lines[0]?.startsWith("extra ")) {
    extra = fromBase64((lines.shift() ?? "").slice("extra ".length), "the extra data");
    check(extra.length > 0, "extra data that is empty must be left out");
  }
  const index = lines.shift() ?? "";
  check(index.startsWith("index "), "the proof has no index line where it belongs");
  check(lines.length <= MAX_HASHES, `the proof has more than ${MAX_HASHES} hashes`);
  const hashes = lines.map((line) => fromBase64(line, "a hash of the proof"));
  check(hashes.every((hash) => hash.length === 32), "a hash of the proof does not have 32 bytes");
  const checkpoint = parseCheckpoint(utf8(text.slice(split + 2)));
  return { extra, index: decimal(index.slice("index ".length), "the index"), hashes, checkpoint };
}

/**
 * Refuses unless the file proves that the log of `policy` holds `leaf`.
 * @param {ParsedProof} proof
 * @param {Uint8Array} leaf the leaf hash, which the caller computes from what it has at hand
 * @param {Policy} policy
 * @param {When} when
 * @returns {Promise<VerifiedCheckpoint>} the checkpoint, whose `asOf` says how old it is
 */
export async function verifyProof(proof, leaf, policy, when) {
  const checkpoint = await verifyCheckpoint(proof.checkpoint, policy, when);
  await verifyInclusion(leaf, proof.index, checkpoint.size, proof.hashes, checkpoint.root);
  return checkpoint;
}
