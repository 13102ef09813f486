// Vectors that stand in files of their own: lookups and proofs of misbehaviour (vindex.md §12.9 and §12.10), policies and checkpoints (policy.md).
import assert from "node:assert/strict";
import test from "node:test";
import { fromBase64 } from "../src/base64.js";
import { fromHex } from "../src/bytes.js";
import { parseCheckpoint } from "../src/checkpoint.js";
import { parseLookup, verifyLookupFile } from "../src/lookup.js";
import { verifyMisbehaviour } from "../src/misbehaviour.js";
import { parseVkey } from "../src/note.js";
import { parsePolicy, verifyCheckpoint } from "../src/policy.js";
import { parseBlock, readText, refuses } from "./support.js";

const one = (block, name) => block.get(name)?.[0];
const numbers = (text) => (text === undefined ? [] : text.split(" ").map(BigInt));

/** What this implementation says where the page gives a reason; where it says less, the same message stands for several. */
const REASONS = [
  [/^a newer anchor/, /holds a newer anchor/], [/^the tail is too (short|long)/, /not every entry after the anchor/], [/^the tail is not the end/, /does not end the tree|newer anchor/],
  [/^the tail is longer/, /more than 4096/], [/^(another map function|tree_size is not the index|the anchor is void|not the bytes|the anchored root)/, /does not lead to the root/],
  [/not at that index$|(anchor|entry|element) is not included|leads to another root|is of another map function/, /does not lead to the root/], [/has another length/, /too short|too long/],
  [/^T is not below N/, /is not in a tree/], [/^the list has fewer/, /cut off/], [/^the list has more/, /after its end/], [/^the list does not have the root/, /does not have the root/],
  [/^the list does not ascend/, /list is not ascending/], [/^start is not/, /begins behind its end/], [/^the final element is not last/, /does not end in the element/],
  [/^impossible value/, /no list before the anchor has the value/], [/^altkey does not equal/, /differs from the key at a bit/], [/^altkey is the key/, /is the key itself/],
  [/^another key was asked/, /another question/], [/^(no such|an empty) kind/, /no such kind/], [/^not signed by/, /log's signature is missing/], [/^another origin/, /another log/],
  [/^the quorum/, /too few witnesses/], [/^a signature does not/, /does not verify/], [/^the index is not among/, /not one that the list/], [/^the entries do not ascend/, /not in ascending order/],
  [/^the index is not below T/, /at or after the anchor/], [/^the entry is of another key|^k is not in map/, /does not map to the key/], [/^k is in map/, /entry maps to the key/],
  [/^i is not below T/, /does not stand before/], [/^N is not 0/, /not empty/], [/^N is 0/, /log is empty/], [/^(index is not 0|there is a hash)/, /index 0 and no hashes/],
  [/^trailing byte/, /bytes after its end/], [/^VIX1/, /not one of a lookup/], [/^VIM1/, /not one of misbehaviour/], [/^the (form|question|list) is 0/, /no known form/],
  [/^(cut off|there is no extra)/, /cut off/], [/^not UTF-8/, /not UTF-8/], [/^the name is too long/, /more than 65535/], [/^uv is not minimal/, /short as possible/],
  [/^one element or two/, /one element or two/], [/^not of anchor form/, /not of anchor form/], [/^the fault is 1 to 9/, /none that is known/],
  [/^(tree_size is T|map_fn is the pinned)/, /says what it should/],
  [/^(last is not below i|not neighbours|i is not between|not at position|the (first )?element is (not|last)|the elements ascend|the value is possible|the first element)/, /is no misbehaviour/],
];

function reasonOf(text) {
  return REASONS.find(([page]) => page.test(text))?.[1] ?? assert.fail(`no message is known for: ${text}`);
}

async function blocks(kind, file = "docs/spec/vindex-vectors.txt") {
  const text = await readText(file);
  const all = text.split("\n\n").map((block) => parseBlock(block.split("\n").filter((line) => line !== "" && !line.startsWith("#"))));
  const chosen = all.filter((block) => block.has(kind));
  assert.ok(chosen.length > 45, `${chosen.length} vectors`);
  return chosen;
}

/** Verifies the file that a block has under a name, as the block's own pins ask. */
async function lookedUp(block, name) {
  const pins = { origin: one(block, "origin"), policy: await parsePolicy(fromBase64(one(block, "policy"), "the policy")), mapFn: one(block, "map_fn") };
  const [file, key] = [fromBase64(one(block, name), "the file"), fromHex(one(block, "key"))];
  return verifyLookupFile(parseLookup(file), pins, { now: Number(one(block, "now")) }, key);
}

async function isAnswered(block, name) {
  const { present, count, last, newest, entries } = await lookedUp(block, name);
  assert.equal(present ? `present ${count} ${last}` : "absent", one(block, "answer"), one(block, "shows"));
  assert.deepEqual(newest, numbers(one(block, "indices")), one(block, "shows"));
  assert.deepEqual(entries.map(({ index }) => index), numbers(one(block, "entries")), one(block, "shows"));
}

test("the page's lookups are accepted with the same answer, or refused for the reason given", async () => {
  for (const block of await blocks("lookup")) {
    if (block.has("refused")) await refuses(() => lookedUp(block, "lookup"), reasonOf(one(block, "refused")), one(block, "shows"));
    else await isAnswered(block, "lookup");
  }
});

test("the page's attacks are refused for the reason given, and without the one defect they are answered", async () => {
  for (const block of await blocks("lookup", "docs/spec/vindex-attacks.txt")) {
    await isAnswered(block, block.has("sound") ? "sound" : "lookup");
    if (block.has("sound")) await refuses(() => lookedUp(block, "lookup"), reasonOf(one(block, "refused")), one(block, "shows"));
  }
});

test("the page's proofs of misbehaviour are accepted with the same fault, or refused for the reason given", async () => {
  for (const block of await blocks("misbehaviour")) {
    const pins = { origin: one(block, "origin"), keys: [await parseVkey(one(block, "log"))], mapFn: one(block, "map_fn") };
    const verify = async () => verifyMisbehaviour(fromBase64(one(block, "misbehaviour"), "the file"), pins);
    if (block.has("refused")) {
      await refuses(verify, reasonOf(one(block, "refused")), one(block, "shows"));
      continue;
    }
    const { fault, entry } = await verify();
    assert.equal(fault, one(block, "fault").replace(/^[0-9] /, ""), one(block, "shows"));
    assert.deepEqual(entry === null ? [] : [entry], numbers(one(block, "entry")), one(block, "shows"));
  }
});

const POLICY_REASONS = [
  [/cannot be filled/, /cannot fill the quorum/], [/too many ways/, /keys in several groups/], [/does not end in a newline/, /does not end in a newline/], [/control character/, /control character/],
  [/^no quorum/, /no quorum/], [/public key twice/, /was there before/], [/a key of type 0x01/, /does not belong here/], [/no signature of the log/, /log's signature is missing/],
  [/no signature line/, /holds a space|nothing but a key ID/], [/quorum is not filled/, /too few witnesses/], [/does not verify/, /does not verify/], [/another origin/, /not that of a log/],
];

test("policy.md: policies and checkpoints under them", async () => {
  for (const block of await blocks("policy", "docs/spec/policy-vectors.txt")) {
    const shows = one(block, "shows");
    const read = () => parsePolicy(fromBase64(one(block, "policy"), "the policy"));
    const reason = (why) => POLICY_REASONS.find(([page]) => page.test(why))?.[1] ?? assert.fail(`no message is known for: ${why}`);
    if (block.has("policy refused")) {
      await refuses(read, reason(one(block, "policy refused")), shows);
      continue;
    }
    const policy = await read();
    const verify = async () => {
      const checkpoint = parseCheckpoint(fromBase64(one(block, "checkpoint"), "the checkpoint"));
      assert.equal(checkpoint.origin, one(block, "origin"), shows);
      return verifyCheckpoint(checkpoint, policy, { now: Number(one(block, "now")) });
    };
    if (block.has("refused")) {
      await refuses(verify, reason(one(block, "refused")), shows);
      continue;
    }
    const { asOf, splittable } = await verify();
    assert.equal(asOf === null ? "unknown" : String(asOf), one(block, "as_of"), shows);
    if (policy.quorum !== null) assert.equal(splittable ? "yes" : "no", one(block, "splits"), shows);
  }
});
