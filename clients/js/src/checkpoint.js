// Checkpoints (c2sp.org/tlog-checkpoint), parsed. What makes one believed is in policy.js.

import { fromBase64 } from "./base64.js";
import { check, decimal, utf8 } from "./bytes.js";
import { parseNote } from "./note.js";

/** @import { Bytes } from "./bytes.js" */
/** @import { Note } from "./note.js" */

/**
 * A checkpoint as it was read: nothing is verified.
 * @typedef {{ note: Note, origin: string, size: bigint, root: Bytes, extensions: string[] }} ParsedCheckpoint
 */

/**
 * @param {Uint8Array} bytes a signed note
 * @returns {ParsedCheckpoint}
 */
export function parseCheckpoint(bytes) {
  const note = parseNote(bytes);
  const lines = note.text.slice(0, -1).split("\n");
  check(lines.length >= 3, "the checkpoint has fewer than three lines");
  check(!lines.includes(""), "the checkpoint has an empty line");
  const [origin = "", size = "", root = "", ...extensions] = lines;
  check(utf8(origin).length <= 255, "the origin has more than 255 bytes");
  const hash = fromBase64(root, "the root hash");
  check(hash.length === 32, "the root hash does not have 32 bytes");
  return { note, origin, size: decimal(size, "the tree size"), root: hash, extensions };
}
