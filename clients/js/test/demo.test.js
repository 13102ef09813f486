// What `glasslog demo` left: the other implementation's checkpoint, policy, tiles and entries, judged here. GLASSLOG_DEMO_DIR names its directory.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test from "node:test";
import { parseCheckpoint } from "../src/checkpoint.js";
import { parseCondaEntry } from "../src/conda.js";
import { CompactRange, leafHash } from "../src/merkle.js";
import { parsePolicy, verifyCheckpoint } from "../src/policy.js";
import { parseBundle, parseTile, tilePath } from "../src/tiles.js";
import { refuses } from "./support.js";

const directory = process.env.GLASSLOG_DEMO_DIR;

test("a log of the demo: its policy holds, its tiles and root are those of its entries", { skip: !directory && "GLASSLOG_DEMO_DIR is not set" }, async () => {
  const read = (path) => readFile(`${directory}/${path}`);
  const parsed = parseCheckpoint(await read("log/public/checkpoint"));
  const now = Math.floor(Date.now() / 1000);
  const checkpoint = await verifyCheckpoint(parsed, await parsePolicy(await read("policy")), { now });
  assert.ok(checkpoint.asOf !== null && checkpoint.cosigners.length >= 2);
  await refuses(async () => verifyCheckpoint(parsed, await parsePolicy(await read("policy-of-three")), { now }), /too few witnesses/);

  assert.ok(checkpoint.size > 0n && checkpoint.size < 256n, `${checkpoint.size}`);
  const width = Number(checkpoint.size);
  const entries = parseBundle(await read(`log/public/${tilePath({ level: "entries", index: 0n, width })}`), width);
  const tree = new CompactRange();
  const leaves = await Promise.all(entries.map(leafHash));
  for (const leaf of leaves) await tree.append(leaf);
  assert.deepEqual(await tree.root(), checkpoint.root);
  assert.deepEqual(parseTile(await read(`log/public/${tilePath({ level: 0, index: 0n, width })}`), width), leaves);
  // The log's own entries about its index are no entries of conda-1.
  for (const entry of entries) if (!new TextDecoder().decode(entry).includes('"type":"vindex-root"')) parseCondaEntry(entry);
});
