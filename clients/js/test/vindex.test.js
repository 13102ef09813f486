// The verifiable index by the vectors of vindex.md §12.1 to §12.8 and by the naive trie.
import assert from "node:assert/strict";
import test from "node:test";
import { be64, equal, fromHex, hex, Reader, sha256, utf8, uv } from "../src/bytes.js";
import { condaNames } from "../src/conda.js";
import { absentRoot, anchorBytes, anchorForm, isDisavowForm, isPossible, keyOf, ListReader, mapFunction, parseValue, presentRoot, valueOf } from "../src/vindex.js";
import { leaf, subtrees, trieProof, trieRoot, valueBytes } from "./model.js";
import { bytesOf, flips, inNode, refuses, vectors } from "./support.js";

const PAGE = "docs/spec/vindex.md";
const one = (block, name) => block.get(name)?.[0];

test("uv: the page's vectors", async () => {
  for (const block of await vectors(PAGE, "12.1")) {
    const bytes = fromHex(one(block, "uv"));
    const read = () => { const reader = new Reader(bytes); const value = reader.uv("it"); reader.end("it"); return value; };
    if (block.has("refused")) {
      await refuses(read, /cut off|short as possible|64 bits/, one(block, "refused"));
    } else {
      assert.equal(read(), BigInt(one(block, "number")));
      assert.deepEqual(uv(read()), bytes);
    }
  }
});

test("keys: the page's vectors", async () => {
  for (const block of await vectors(PAGE, "12.2")) {
    const map = mapFunction(block.has("kind") ? "conda-1" : "json-field:name");
    assert.equal(hex(await keyOf(map, one(block, "kind") ?? "", one(block, "name"))), one(block, "key"));
  }
  await refuses(() => keyOf(mapFunction("conda-1"), "", "x"), /no such kind/);
  await refuses(() => keyOf(mapFunction("conda-1"), "file", "x"), /no such kind/);
  await refuses(() => keyOf(mapFunction("json-field:a"), "path", "x"), /no such kind/);
  await refuses(() => keyOf(mapFunction("json-field:a"), "", "\ud800"), /UTF-8/);
  await refuses(() => keyOf(mapFunction("json-field:a"), "", "x".repeat(65_536)), /65,535/);
  for (const name of ["", "conda-2", "json-field", "json-field:", "json-field:\ud800"]) await refuses(() => mapFunction(name), /map function/, name);
});

test("map functions: the page's vectors map to their keys, or to nothing", async () => {
  for (const section of ["12.3", "12.4"]) {
    for (const block of await vectors(PAGE, section)) {
      const [what, entry] = [one(block, "shows"), bytesOf(block, "entry")];
      const map = mapFunction(one(block, "map_fn"));
      assert.deepEqual((await map.keys(entry)).map(hex).sort(), (block.get("key") ?? []).sort(), what);
      assert.equal(block.has("key"), !block.has("nothing"), what);
      if (block.has("maps")) assert.deepEqual(condaNames(entry).map((pair) => pair.join(" ")), block.get("maps"), what);
    }
  }
});

test("map functions: what conda-entry.md refuses maps to nothing", async () => {
  for (const block of await vectors("docs/spec/conda-entry.md", "13.6")) {
    assert.deepEqual(await mapFunction("conda-1").keys(bytesOf(block, "refused", (digits) => String.fromCharCode(parseInt(digits, 16)))), [], one(block, "shows"));
  }
});

test("values: the page's vectors", async () => {
  for (const block of await vectors(PAGE, "12.5")) {
    const value = one(block, "value");
    if (block.has("list")) {
      const list = one(block, "list").split(" ").map(BigInt);
      assert.equal(hex(await valueOf(list)), value);
      assert.ok(isPossible(parseValue(fromHex(value)), 2n ** 53n));
    } else {
      assert.ok(block.has("refused") && !isPossible(parseValue(fromHex(value)), BigInt(one(block, "tree_size"))), one(block, "refused"));
    }
  }
  await refuses(() => parseValue(new Uint8Array(47)), /47 bytes, not 48/);
});

test("tries: the page's roots, by the naive trie, and a proof of every key under them", async () => {
  for (const block of await vectors(PAGE, "12.6")) {
    const pairs = (block.get("pair") ?? []).map((pair) => pair.split(" ").map(fromHex));
    assert.equal(hex(await trieRoot(pairs)), one(block, "root"));
    for (const [key, value] of pairs) assert.equal(hex(await presentRoot(key, value, (await trieProof(pairs, key)).proof)), one(block, "root"));
  }
});

test("trie proofs: the page's vectors", async () => {
  for (const block of await vectors(PAGE, "12.7")) {
    const [what, key, proof] = [one(block, "shows"), fromHex(one(block, "key")), fromHex(one(block, "proof"))];
    const root = async () => (block.has("value") ? presentRoot(key, fromHex(one(block, "value")), proof) : (await absentRoot(key, proof)).root);
    if (block.has("refused")) await refuses(root, /bits|other key|other value|cut off|short as possible|64 bits/, what);
    else if (block.has("root")) assert.equal(hex(await root()), one(block, "root"), what);
    else assert.notEqual(hex(await root()), one(block, "other root"), what);
  }
});

test("trie proofs: random sets, present and absent keys, and every flipped bit of a proof", async () => {
  const keyOfNumber = (i) => sha256(be64(BigInt(i)));
  for (const size of [0, 1, 2, 3, 10, 40]) {
    const pairs = await Promise.all(Array.from({ length: size }, async (_, i) => [await keyOfNumber(i), await valueBytes([i])]));
    const root = await trieRoot(pairs);
    for (let i = 0; i < size + 10; i++) {
      const key = await keyOfNumber(i);
      const { value, proof } = await trieProof(pairs, key);
      assert.equal(value !== null, i < size);
      assert.deepEqual(value ? await presentRoot(key, value, proof) : (await absentRoot(key, proof)).root, root);
      // A proof of presence claims no absence, and the other way round.
      const wrong = await (value ? absentRoot(key, proof).then((r) => r.root) : presentRoot(key, pairs[0]?.[1] ?? new Uint8Array(48), proof)).catch(() => null);
      assert.ok(wrong === null || !equal(wrong, root));
    }
  }
  const pairs = await Promise.all(Array.from({ length: 12 }, async (_, i) => [await keyOfNumber(i), await valueBytes([i])]));
  const root = await trieRoot(pairs);
  for (const i of [3, 99]) {
    const key = await keyOfNumber(i);
    const { value, proof } = await trieProof(pairs, key);
    for (const [bit, flipped] of flips(proof)) {
      const given = await (value ? presentRoot(key, value, flipped) : absentRoot(key, flipped).then((r) => r.root)).catch(() => null);
      assert.ok(given === null || !equal(given, root), `bit ${bit}`);
    }
  }
});

test("anchors: the page's vectors are written, and recognised", async () => {
  for (const block of await vectors(PAGE, "12.8")) {
    const entry = bytesOf(block, "entry");
    assert.equal(hex(await leaf(entry)), one(block, "leaf"));
    assert.equal(isDisavowForm(entry), block.has("positions"));
    if (block.has("positions")) {
      assert.equal(anchorForm(entry), null);
      continue;
    }
    const [mapFn, root, treeSize] = [new TextDecoder().decode(fromHex(one(block, "map_fn hex"))), one(block, "root"), BigInt(one(block, "tree_size"))];
    assert.deepEqual(anchorBytes(mapFn, root === "null" ? null : fromHex(root), treeSize), entry);
    assert.deepEqual(anchorForm(entry), { mapFn, root: root === "null" ? null : root, treeSize });
  }
  await refuses(() => anchorBytes("x", null, 2n ** 53n), /2\^53/);
});

test("anchors: what is not quite of anchor or disavow form", () => {
  const anchor = `{"map_fn":"x","root":null,"tree_size":7,"type":"vindex-root","v":1}`;
  const disavow = `{"positions":[3],"type":"vindex-disavow","v":1}`;
  assert.ok(anchorForm(utf8(anchor)) && isDisavowForm(utf8(disavow)));
  for (const [from, to] of [
    ['"x"', "null"], ["null", `"${"A".repeat(64)}"`], ["null", `"${"a".repeat(63)}"`], ["null", "1"], ["7", "-7"], ["7", "7.0"], ["7", '"7"'], ["7", "9007199254740992"],
    ["vindex-root", "vindex-roots"], ["1}", "2}"], ["1}", '"1"}'], ["1}", '1,"w":0}'], [',"v":1', ""], ["{", "{ "], ["}", "}\n"], ["map_fn", "map_fm"],
    ['"type":"vindex-root","v":1', '"v":1,"type":"vindex-root"'],
  ]) assert.equal(anchorForm(utf8(anchor.replace(from, to))), null, to);
  for (const [from, to] of [["[3]", "3"], ["[3]", "[-1]"], ["[3]", '["3"]'], ["[3]", "[9007199254740992]"], ["[3]", "[[3]]"], ["1}", "2}"], ["}", "} "], ["vindex-disavow", "x"]]) {
    assert.equal(isDisavowForm(utf8(disavow.replace(from, to))), false, to);
  }
});

test("lists: read whole, from any start, in pages; what does not agree is refused", async () => {
  const list = [2n, 3n, 5n, 70n, 71n, 100n, 4096n];
  const value = parseValue(await valueOf(list));
  const leaves = await Promise.all(list.map((i) => leaf(be64(i))));
  for (let start = 0; start < list.length; start++) {
    const reader = new ListReader(BigInt(start), await subtrees(leaves.slice(0, start)));
    for (const element of list.slice(start)) await reader.append([element]);
    await reader.agrees(value);
  }
  const read = async (...pages) => {
    const reader = new ListReader();
    for (const page of pages) await reader.append(page);
    await reader.agrees(value);
  };
  await read(list.slice(0, 3), [], list.slice(3));
  await refuses(() => read(list.slice(0, -1)), /length/);
  await refuses(() => read(list.slice(1)), /length/);
  await refuses(() => read([1n, ...list.slice(1)]), /does not have the root/);
  await refuses(() => read([...list.slice(0, -1), 4097n]), /does not end in the element/);
  await refuses(() => read(list.slice(0, 4), list.slice(3)), /not ascending/);
  await refuses(() => read([3n, 2n, ...list.slice(2)]), /not ascending/);
  await refuses(() => read(), /nothing is given/);
  await refuses(() => new ListReader(3n, leaves.slice(0, 1)), /fewer roots/);
});

test("trie proofs: torchwood's vectors in ../shared", async (t) => {
  const { existsSync, readFileSync } = inNode ? await import("node:fs") : { existsSync: () => false };
  const file = new URL("../../../../shared/vectors/vindex/verify.txt", import.meta.url);
  if (!existsSync(file)) return t.skip("skipped: ../shared/vectors/vindex is absent");
  let verified = 0;
  for (const block of readFileSync(file, "utf8").split("\n\n")) {
    const field = (name) => new RegExp(`^${name} '?([0-9a-f-]*)'?`, "m").exec(block)?.[1];
    if (field("snap") === undefined) continue;
    const [key, proof] = [fromHex(field("key")), fromHex(field("proof"))];
    const root = await (field("val") === "-" ? absentRoot(key, proof).then((r) => r.root) : presentRoot(key, fromHex(field("val")), proof)).catch(() => null);
    const sound = root !== null && hex(root) === field("snap");
    assert.equal(sound, / true/.test(/^verify.*$/m.exec(block)?.[0]), block);
    verified++;
  }
  assert.ok(verified > 300, `${verified}`);
});
