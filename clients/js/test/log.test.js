// Merkle proofs, tiles, proof files and policies.
import assert from "node:assert/strict";
import test from "node:test";
import { fromBase64, toBase64 } from "../src/base64.js";
import { concat, fromHex, hex, utf8 } from "../src/bytes.js";
import { parseCheckpoint } from "../src/checkpoint.js";
import { CompactRange, emptyRoot, leafHash, verifyConsistency, verifyInclusion } from "../src/merkle.js";
import { parsePolicy, policyOfKey, verifyCheckpoint } from "../src/policy.js";
import { parseProof, verifyProof } from "../src/proof.js";
import { parseBundle, parseTile, parseTilePath, tilePath } from "../src/tiles.js";
import { consistency, ModelLog, mth, path, subtrees } from "./model.js";
import { checkpointText, flips, makeSigner, readText, refuses, vectors } from "./support.js";

const NOW = 1_764_104_400;
const leavesOf = (n) => Promise.all(Array.from({ length: n }, (_, i) => leafHash(utf8(`entry ${i}`))));

test("inclusion: every proof of every tree up to 33 leaves verifies, and for nothing else", async () => {
  const leaves = await leavesOf(33);
  for (let n = 1; n <= 33; n++) {
    const root = await mth(leaves.slice(0, n));
    for (let m = 0; m < n; m++) {
      const proof = await path(m, leaves.slice(0, n));
      await verifyInclusion(leaves[m], BigInt(m), BigInt(n), proof, root);
      await refuses(() => verifyInclusion(leaves[(m + 1) % 33], BigInt(m), BigInt(n), proof, root), /does not lead/);
      await refuses(() => verifyInclusion(leaves[m], BigInt(m), BigInt(n), [...proof, root], root), /too long/);
      if (m > 0) await refuses(() => verifyInclusion(leaves[m], BigInt(m - 1), BigInt(n), proof, root), /too|does not lead/);
      if (proof.length > 0) await refuses(() => verifyInclusion(leaves[m], BigInt(m), BigInt(n), proof.slice(1), root), /too short/);
    }
    await refuses(() => verifyInclusion(leaves[0], BigInt(n), BigInt(n), [], root), /is not in a tree/);
  }
});

test("inclusion: the RFC 6962 example trees of the field have the roots they are known by", async () => {
  const inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
  const leaves = await Promise.all(inputs.map((input) => leafHash(fromHex(input))));
  assert.equal(hex(await emptyRoot()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  assert.equal(hex(leaves[0]), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
  assert.equal(hex(await mth(leaves)), "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
  await verifyInclusion(leaves[7], 7n, 8n, await path(7, leaves), await mth(leaves));
});

test("inclusion and consistency: real proofs of Google's CT log Argon 2020, of 961,984,013 leaves", async () => {
  const lines = (await readText("clients/js/test/data/argon2020.txt")).trimEnd().split("\n").slice(1).map((line) => line.split(" "));
  const [tree, older, leaf] = ["tree", "older", "leaf"].map((name) => lines.find(([first]) => first === name));
  const hashes = (name) => lines.filter(([first]) => first === name).map(([, hash]) => fromBase64(hash, name));
  const hash = ([, , text]) => fromBase64(text, "a hash");
  await verifyInclusion(hash(leaf), BigInt(leaf[1]), BigInt(tree[1]), hashes("inclusion"), hash(tree));
  await verifyConsistency(BigInt(older[1]), hash(older), BigInt(tree[1]), hash(tree), hashes("consistency"));
  await refuses(() => verifyInclusion(hash(leaf), BigInt(leaf[1]) + 1n, BigInt(tree[1]), hashes("inclusion"), hash(tree)), /does not lead/);
  await refuses(() => verifyConsistency(BigInt(older[1]) + 1n, hash(older), BigInt(tree[1]), hash(tree), hashes("consistency")), /too|root/);
});

test("inclusion and consistency: sizes and indices of 64 bits", async () => {
  const [leaf, max] = [await leafHash(utf8("x")), 2n ** 64n - 1n];
  // The last leaf of a tree of 2^64 − 1 leaves: all 63 subtrees are on its left.
  const left = await leavesOf(63);
  let root = leaf;
  for (const hash of left) root = await leafHashOfNode(hash, root);
  await verifyInclusion(leaf, max - 1n, max, left, root);
  await refuses(() => verifyInclusion(leaf, max - 2n, max, left, root), /too short|too long|does not lead/);
  await refuses(() => verifyInclusion(leaf, max, max, left, root), /is not in a tree/);
  await verifyConsistency(max, root, max, root, []);
});

async function leafHashOfNode(left, right) {
  const tree = CompactRange.of(1n, [left]);
  await tree.append(right);
  return tree.root();
}

test("consistency: every proof between trees of up to 17 leaves verifies, and no other roots", async () => {
  const leaves = await leavesOf(17);
  const roots = await Promise.all(Array.from({ length: 18 }, (_, n) => mth(leaves.slice(0, n))));
  for (let n = 1; n <= 17; n++) {
    for (let m = 1; m <= n; m++) {
      const proof = await consistency(m, leaves.slice(0, n));
      const verify = (p, a = roots[m], b = roots[n]) => verifyConsistency(BigInt(m), a, BigInt(n), b, p);
      await verify(proof);
      await refuses(() => verify([...proof, roots[1]]), /too long/);
      if (proof.length > 0) await refuses(() => verify(proof.slice(0, -1)), /too short|does not lead/);
      await refuses(() => verify(proof, roots[0]), /old root|not consistent|new root/);
      await refuses(() => verify(proof, roots[m], roots[0]), /new root|not consistent/);
    }
    await verifyConsistency(0n, roots[0], BigInt(n), roots[n], []);
    await refuses(() => verifyConsistency(0n, roots[1], BigInt(n), roots[n], []), /not consistent/);
    await refuses(() => verifyConsistency(BigInt(n + 1), roots[n], BigInt(n), roots[n], []), /does not extend/);
  }
});

test("consistency: a proof for a smaller tree says nothing about a larger one with the same root", async () => {
  const leaves = await leavesOf(2);
  const [old, root] = [await mth(leaves.slice(0, 1)), await mth(leaves)];
  await verifyConsistency(1n, old, 2n, root, [leaves[1]]);
  for (const to of [3n, 4n, 2n ** 64n - 1n]) await refuses(() => verifyConsistency(1n, old, to, root, [leaves[1]]), /too short/);
});

test("inclusion and consistency: every flipped bit of a proof is refused", async () => {
  const leaves = await leavesOf(13);
  const [root, old] = [await mth(leaves), await mth(leaves.slice(0, 6))];
  const [inclusion, consistent] = [await path(9, leaves), await consistency(6, leaves)];
  const split = (bytes) => parseTile(bytes, bytes.length / 32);
  for (const [bit, bytes] of flips(concat(...inclusion))) await refuses(() => verifyInclusion(leaves[9], 9n, 13n, split(bytes), root), /does not lead/, `${bit}`);
  for (const [bit, bytes] of flips(concat(...consistent))) await refuses(() => verifyConsistency(6n, old, 13n, root, split(bytes)), /root/, `${bit}`);
});

test("compact ranges: appending gives the root at every size, from every start", async () => {
  const leaves = await leavesOf(20);
  for (let start = 0; start <= 20; start++) {
    const roots = await subtrees(leaves.slice(0, start));
    const tree = CompactRange.of(BigInt(start), roots);
    for (let n = start; n <= 20; n++) {
      assert.deepEqual(await tree.root(), await mth(leaves.slice(0, n)));
      if (n < 20) await tree.append(leaves[n]);
    }
    await refuses(() => CompactRange.of(BigInt(start), [...roots, leaves[0]]), /more roots/);
    if (start > 0) await refuses(() => CompactRange.of(BigInt(start), roots.slice(1)), /fewer roots/);
  }
});

test("tiles: the examples of tlog-tiles, and one spelling for each path", async () => {
  assert.equal(tilePath({ level: 0, index: 1234067n, width: 256 }), "tile/0/x001/x234/067");
  assert.equal(tilePath({ level: "entries", index: 0n, width: 112 }), "tile/entries/000.p/112");
  for (const tilePathText of ["tile/63/000", "tile/0/999", "tile/1/x001/000.p/1", "tile/entries/x001/x234/067.p/255", "tile/0/x072/x057/x594/x037/x927/935"]) {
    assert.equal(tilePath(parseTilePath(tilePathText)), tilePathText);
  }
  for (const bad of [
    "", "/tile/0/000", "tile/0/000/", "tile/64/000", "tile/00/000", "tile/-1/000", "tile/0/0", "tile/0/0000", "tile/0/x000/001", "tile/0/001/002", "tile/0/x001",
    "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/01", "tile/0/000.p/", "tile/0/X001/000", "tile/entry/000", "tile/0/x999/x999/x999/x999/x999/x999/999",
  ]) await refuses(() => parseTilePath(bad), /tile/, bad);
});

test("tiles and bundles: contents", async () => {
  const hashes = await leavesOf(3);
  assert.deepEqual(parseTile(concat(...hashes), 3), hashes);
  await refuses(() => parseTile(concat(...hashes), 2), /tile of 2 hashes does not have 96 bytes/);
  const entries = [utf8(""), utf8("a"), new Uint8Array(65_535).fill(7)];
  const bundle = concat(...entries.flatMap((entry) => [Uint8Array.of(entry.length >> 8, entry.length), entry]));
  assert.deepEqual(parseBundle(bundle, 3), entries);
  for (const [bytes, width, reason] of [
    [bundle, 2, /more than 2 entries/], [bundle, 4, /3 entries, not 4/], [bundle.slice(0, -1), 3, /ends within an entry/],
    [bundle.slice(0, 6), 3, /ends within a length/], [concat(bundle, Uint8Array.of(0)), 3, /more than 3/], [new Uint8Array(), 1, /0 entries/],
  ]) await refuses(() => parseBundle(bytes, width), reason);
});

async function sampleLog(size) {
  const signer = await makeSigner("log.example");
  const log = new ModelLog("log.example", signer, "none", async () => []);
  for (let i = 0; i < size; i++) await log.add(utf8(`entry ${i}`));
  return log;
}

test("proof files: a log's file verifies; every flipped bit of it is refused", async () => {
  const log = await sampleLog(7);
  const policy = await policyOfKey(log.signer.vkey);
  const file = await log.proofFile(5);
  const proven = await verifyProof(parseProof(file), log.leaves[5], policy, { now: NOW });
  assert.deepEqual([proven.origin, proven.size, proven.age], ["log.example", 7n, "unknown"]);
  for (const [bit, flipped] of flips(file)) {
    await refuses(async () => verifyProof(parseProof(flipped), log.leaves[5], policy, { now: NOW }), /./, `bit ${bit}`);
  }
  await refuses(() => verifyProof(parseProof(file), log.leaves[4], policy, { now: NOW }), /does not lead to the root/);
  const withExtra = parseProof(await log.proofFile(5, utf8("extra")));
  assert.deepEqual(withExtra.extra, utf8("extra"));
  await verifyProof(withExtra, log.leaves[5], policy, { now: NOW });
});

test("proof files: what is malformed is refused", async () => {
  const log = await sampleLog(3);
  const file = new TextDecoder().decode(await log.proofFile(1, utf8("x")));
  parseProof(utf8(file));
  for (const [from, to, reason] of [
    ["@v1", "@v2", /does not begin with/], ["c2sp", "\nc2sp", /./], ["extra eA==", "extra", /no index line/], ["extra eA==", "extra ", /must be left out/],
    ["extra eA==", "extra eA==\nextra eA==", /no index line/], ["extra eA==", "extra eA", /base64/], ["index 1\n", "", /no index line/],
    ["index 1", "index 01", /leading zeroes/], ["index 1", "index  1", /decimal/], ["index 1", "Index 1", /no index line/],
    ["index 1", "index 18446744073709551616", /64 bits/], ["index 1", `index 1\n${toBase64(new Uint8Array(31))}`, /does not have 32 bytes/],
    ["index 1", `index 1${`\n${toBase64(new Uint8Array(32))}`.repeat(64)}`, /more than 64 hashes/], ["\n\nlog.example", "\nlog.example", /./],
    ["\n\nlog.example", "\n\n\nlog.example", /empty line/],
  ]) await refuses(() => parseProof(utf8(file.replace(from, to))), reason, JSON.stringify(to));
});

test("proof files: vindex.md 12.11, the longest, and one byte more", async () => {
  for (const block of await vectors("docs/spec/vindex.md", "12.11")) {
    const [unit, times] = block.get("fill")[0].split(" ");
    const file = utf8(`${block.get("line").join("\n")}\n`.replace("~", unit.repeat(Number(times))));
    if (block.has("refused")) await refuses(() => parseProof(file), /more than 67108864 bytes/);
    else assert.equal(parseProof(file).extra.length, 3 * Number(times));
  }
});

/** A log, witnesses w1 to w4 of type 0x04, and a policy of what `rule` says about them. */
async function witnessed(rule, names = ["w1", "w2", "w3", "w4"]) {
  const log = await makeSigner("log.example");
  const witnesses = await Promise.all(names.map((name) => makeSigner(`${name}.example`, 0x04)));
  const lines = [`log ${log.vkey}`, ...witnesses.map((w, i) => `witness ${names[i]} ${w.vkey}`), ...rule, ""];
  return { log, witnesses, policy: await parsePolicy(utf8(lines.join("\n"))) };
}

async function signedBy(log, cosigned, size = 0) {
  const text = checkpointText("log.example", size, await emptyRoot());
  const lines = await Promise.all(cosigned.map(([signer, time]) => signer.sign(text, time)));
  return parseCheckpoint(utf8(`${text}\n${log ? await log.sign(text) : ""}${lines.join("")}`));
}

test("quorum: as-of is the largest time from which on cosignatures fill it", async () => {
  const { log, witnesses: [a, b, c, d], policy } = await witnessed(["group g 2 w1 w2 w3", "quorum g"]);
  const asOf = async (cosigned, when = { now: NOW }) => verifyCheckpoint(await signedBy(log, cosigned), policy, when);
  assert.equal((await asOf([[a, NOW - 10], [b, NOW - 20]])).asOf, BigInt(NOW - 20));
  assert.equal((await asOf([[a, NOW - 10], [b, NOW - 20], [c, NOW - 15]])).asOf, BigInt(NOW - 15));
  assert.equal((await asOf([[a, NOW - 20], [a, NOW - 10], [b, NOW - 15]])).asOf, BigInt(NOW - 15), "of two by one witness the newer counts");
  // One fresh stamp beside old ones proves nothing.
  const old = await asOf([[a, NOW], [b, NOW - 90_000], [c, NOW - 90_001]]);
  assert.deepEqual([old.asOf, old.age], [BigInt(NOW - 90_000), "stale"]);
  assert.equal((await asOf([[a, NOW], [b, NOW - 86_400]])).age, "fresh");
  assert.equal((await asOf([[a, NOW], [b, NOW - 86_401]])).age, "stale");
  assert.equal((await asOf([[a, NOW], [b, NOW - 61]], { now: NOW, maxAge: 60 })).age, "stale");
  // A time in the future, by more than clocks differ, does not count.
  await refuses(() => asOf([[a, NOW], [b, NOW + 301]]), /too few witnesses/);
  assert.equal((await asOf([[a, NOW], [b, NOW + 300]])).asOf, BigInt(NOW));
  await refuses(() => asOf([[a, NOW], [a, NOW - 1]]), /too few witnesses/);
  await refuses(() => asOf([[a, NOW], [d, NOW]]), /too few witnesses/);
  await refuses(() => asOf([]), /too few witnesses/);
  await refuses(async () => verifyCheckpoint(await signedBy(null, [[a, NOW], [b, NOW]]), policy, { now: NOW }), /log's signature is missing/);
});

test("quorum: the example of tlog-policy, by every subset of its witnesses", async () => {
  const names = ["X1", "X2", "X3", "Y1", "Y2", "Y3"];
  const rule = ["group X-witnesses 2 X1 X2 X3", "group Y-witnesses any Y1 Y2 Y3", "group X-and-Y all X-witnesses Y-witnesses", "quorum X-and-Y"];
  const { log, witnesses, policy } = await witnessed(rule, names);
  assert.equal(policy.splittable, false);
  for (let set = 0; set < 64; set++) {
    const cosigned = witnesses.filter((_, i) => (set >> i) & 1);
    const [x, y] = [cosigned.filter((w) => w.name < "Y").length, cosigned.filter((w) => w.name > "Y").length];
    const verified = verifyCheckpoint(await signedBy(log, cosigned.map((w) => [w, NOW])), policy, { now: NOW });
    if (x >= 2 && y >= 1) await verified;
    else await refuses(() => verified, /too few witnesses/, `${set}`);
  }
});

test("quorum none and a key alone: the time is that of the log's own cosigner", async () => {
  const [log, own, other] = [await makeSigner("log.example"), await makeSigner("log.example", 0x04), await makeSigner("w.example", 0x04)];
  const when = { now: NOW };
  const alone = await verifyCheckpoint(await signedBy(log, [[own, NOW - 5], [other, NOW]]), await policyOfKey(log.vkey), when);
  assert.deepEqual([alone.asOf, alone.age], [null, "unknown"]);
  const pinned = await policyOfKey(log.vkey, own.vkey);
  assert.equal((await verifyCheckpoint(await signedBy(log, [[own, NOW - 5], [own, NOW - 3], [other, NOW]]), pinned, when)).asOf, BigInt(NOW - 3));
  await refuses(async () => verifyCheckpoint(await signedBy(null, [[own, NOW]]), pinned, when), /log's signature is missing/);
  await refuses(() => policyOfKey(log.vkey, other.vkey), /under the log's name/);
  // A log that vouches for itself as a witness fills no quorum.
  await refuses(() => parsePolicy(utf8(`log ${log.vkey}\nwitness w ${own.vkey}\nquorum w\n`)), /cannot fill the quorum/);
  const vain = await parsePolicy(utf8(`log ${log.vkey}\nwitness w ${own.vkey}\nwitness o ${other.vkey}\ngroup g any w o\nquorum g\n`));
  await refuses(async () => verifyCheckpoint(await signedBy(log, [[own, NOW]]), vain, when), /too few witnesses/);
  // A wrong signature of any known key spoils the note, though it would not have counted.
  const wrong = await own.sign("another text\n", NOW);
  const text = checkpointText("log.example", 0, await emptyRoot());
  const note = parseCheckpoint(utf8(`${text}\n${await log.sign(text)}${wrong}`));
  await refuses(() => verifyCheckpoint(note, vain, when), /log\.example does not verify/);
  assert.equal((await verifyCheckpoint(note, await policyOfKey(log.vkey), when)).age, "unknown", "an unknown key's signature is ignored");
});

test("checkpoints: another origin, and an empty tree with another root, are refused", async () => {
  const log = await makeSigner("log.example");
  const policy = await policyOfKey(log.vkey);
  const sign = async (text) => parseCheckpoint(utf8(`${text}\n${await log.sign(text)}`));
  await refuses(async () => verifyCheckpoint(await sign(checkpointText("other.example", 0, await emptyRoot())), policy, { now: NOW }), /origin is not that of a log/);
  await refuses(async () => verifyCheckpoint(await sign(checkpointText("log.example", 0, new Uint8Array(32))), policy, { now: NOW }), /SHA-256 of nothing/);
});

test("policies: one witness counts once, whatever its names", async () => {
  const log = await makeSigner("log.example");
  const [a, a2, b, c] = [await makeSigner("a.example", 4), await makeSigner("a.example", 4), await makeSigner("b.example", 4), await makeSigner("c.example", 4)];
  const parse = (lines) => parsePolicy(utf8(`log ${log.vkey}\n${lines.join("\n")}\n`));
  const both = [`witness a ${a.vkey}`, `witness a2 ${a2.vkey}`, `witness b ${b.vkey} https://w.example/`, `witness c ${c.vkey} https://w.example/`];
  const policy = await parse([...both, "group g 2 a a2 b c", "quorum g"]);
  const verify = async (...signers) => verifyCheckpoint(await signedBy(log, signers.map((s) => [s, NOW])), policy, { now: NOW });
  await refuses(() => verify(a, a2), /too few/);
  await refuses(() => verify(b, c), /too few/);
  await verify(a2, c);
  await refuses(() => parse([...both, "group g 3 a a2 b c", "quorum g"]), /cannot fill the quorum/);
  await refuses(() => parse([...both, "group g a a", "quorum g"]), /threshold is all, any or a number/);
  await refuses(() => parse([...both, "group g any a", "group h any a2", "group i all g h", "quorum i"]), /cannot fill the quorum/);
});

test("policies: two disjoint quorums are told", async () => {
  for (const [rule, splittable] of [
    [["quorum w1"], false], [["group g any w1 w2", "quorum g"], true], [["group g 2 w1 w2 w3", "quorum g"], false], [["group g 2 w1 w2 w3 w4", "quorum g"], true],
    [["group g any w1 w2", "group h all g w3", "quorum h"], false], [["group g any w1 w2", "group h any w3 w4", "group i all g h", "quorum i"], true], [["quorum none"], false],
  ]) assert.equal((await witnessed(rule)).policy.splittable, splittable, rule.join("; "));
});

test("policies: what is malformed is refused", async () => {
  const [log, w, v] = [await makeSigner("log.example"), await makeSigner("w.example", 0x04), await makeSigner("v.example", 0x04)];
  const [L, W, V] = [`log ${log.vkey}\n`, `witness W ${w.vkey}\n`, `witness V ${v.vkey} https://v.example\n`];
  for (const good of [`${L}quorum none\n`, "quorum none\n", `# c\n \t\n${L} ${W}\t${V}group g 1 W V\nquorum g\n`, `${L}witness W\xff ${w.vkey}\nquorum W\xff\n`]) {
    await parsePolicy(Uint8Array.from(good, (c) => c.charCodeAt(0)));
  }
  for (const [text, reason] of [
    ["", /does not end in a newline/], [`${L}quorum none`, /does not end in a newline/], [L, /no quorum/], ["quorum none\nquorum none\n", /a second quorum/],
    [`${L}quorum none\r\n`, /control character/], [`${L}quorum none \x7f\n`, /control character/], [`${L}quorum W\n${W}`, /not defined before/],
    [`${L}${W}quorum w\n`, /not defined before/], [`witness W ${log.vkey}\nquorum none\n`, /does not belong here/],
    [`${L}${L}quorum none\n`, /was there before/], [`${W}${W}quorum none\n`, /was there before/], [`${W}${V.replace(" V ", " W ")}quorum none\n`, /defined twice/],
    [`${W.replace(" W ", " none ")}quorum none\n`, /defined twice/], [`${W}group W 1 W\nquorum none\n`, /defined twice/], [`${W}group g 0 W\nquorum g\n`, /threshold is all/],
    [`${W}group g 2 W\nquorum g\n`, /more than the group has members/], [`${W}group g 01 W\nquorum g\n`, /threshold is all/], [`${W}group g all\nquorum g\n`, /a group has a name/],
    [`${W}group g all none\nquorum g\n`, /not defined before/], [`${W}group g all g\nquorum g\n`, /not defined before/], [`${W}group g 1 W W\nquorum g\n`, /member of a group twice/],
    [`${W}group g 1 W\ngroup h 1 W\nquorum h\n`, /member of a group twice/], [`${L}Quorum none\n`, /first word is not known/], ["quorum\n", /followed by one name/],
    ["quorum none none\n", /followed by one name/], [`${L.trim()} u u\nquorum none\n`, /at most a URL/], [`witness W\nquorum none\n`, /at most a URL/],
  ]) await refuses(() => parsePolicy(utf8(text)), reason, JSON.stringify(text));
});
