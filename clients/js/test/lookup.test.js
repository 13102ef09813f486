// Lookups and their files against a log that the naive model keeps, honest and not, and proofs of misbehaviour.
import assert from "node:assert/strict";
import test from "node:test";
import { be64, concat, hex, utf8, uv } from "../src/bytes.js";
import { toBase64 } from "../src/base64.js";
import { parseLookup, verifyLookupFile } from "../src/lookup.js";
import { verifyMisbehaviour } from "../src/misbehaviour.js";
import { parseVkey } from "../src/note.js";
import { policyOfKey } from "../src/policy.js";
import { parseProof } from "../src/proof.js";
import { keyOf, mapFunction } from "../src/vindex.js";
import { counted, element, ModelLog, trieProof, valueBytes } from "./model.js";
import { flips, makeSigner, refuses } from "./support.js";

const NOW = { now: 1_764_104_400 };
const MAP = mapFunction("json-field:name");
const keyOfName = (name) => keyOf(MAP, "", name);
const entry = (name, n) => utf8(`{"n":${n},"name":"${name}"}`);

async function newLog(mapFn = MAP) {
  const signer = await makeSigner("log.example");
  const log = new ModelLog("log.example", signer, mapFn.name, mapFn.keys);
  const pins = { origin: "log.example", policy: await policyOfKey(signer.vkey), mapFn: mapFn.name };
  return { log, pins };
}

async function addAll(log, names) {
  for (const name of names) await log.add(entry(name, log.entries.length));
}

/** a stands at 0, 3, 6; b at 1, 4; c at 2, 5; an anchor at 7. */
async function sample() {
  const { log, pins } = await newLog();
  await addAll(log, ["a", "b", "c", "a", "b", "c", "a"]);
  return { log, pins, anchor: await log.anchor() };
}

const verify = (file, pins, asked) => verifyLookupFile(parseLookup(file), pins, NOW, asked);

test("lookups: every name, absent ones too, at every place of the anchor", async () => {
  for (const before of [0, 1, 2, 7, 8]) {
    for (const after of [0, 1, 5]) {
      const { log, pins } = await newLog();
      const names = Array.from({ length: before + after }, (_, i) => "abcd"[i % 4]);
      await addAll(log, names.slice(0, before));
      const anchor = await log.anchor();
      await addAll(log, names.slice(before));
      for (const name of ["a", "b", "c", "d", "none"]) {
        const key = await keyOfName(name);
        const places = log.entries.flatMap((bytes, i) => (new TextDecoder().decode(bytes).includes(`"name":"${name}"`) ? [i] : []));
        const anchored = places.filter((i) => i < anchor.index);
        const list = anchored.length > 0 ? { indices: anchored, start: Math.min(1, anchored.length - 1) } : null;
        const answer = await verify(await log.lookupFile(anchor, key, { list, entries: list ? [anchored.at(-1)] : [] }), pins, key);
        assert.deepEqual([answer.present, answer.count, answer.last], [places.length > 0, BigInt(places.length), places.length > 0 ? BigInt(places.at(-1)) : null]);
        assert.deepEqual(answer.newest, places.slice(list?.start ?? 0).map(BigInt));
        assert.deepEqual(answer.entries.map((e) => e.index), [...(list ? [anchored.at(-1)] : []), ...places.filter((i) => i > anchor.index)].map(BigInt));
      }
    }
  }
});

test("lookups: names and kinds in the question, and another question", async () => {
  const { log, pins, anchor } = await sample();
  const [a, b] = [await keyOfName("a"), await keyOfName("b")];
  const question = (kind, name) => concat(Uint8Array.of(1), counted(utf8(kind)), counted(utf8(name)));
  assert.deepEqual((await verify(await log.lookupFile(anchor, a, { question: question("", "a") }), pins, a)).key, a);
  await refuses(async () => verify(await log.lookupFile(anchor, a), pins, b), /another question/);
  await refuses(async () => verify(await log.lookupFile(anchor, a, { question: question("", "b") }), pins), /does not lead to the root/);
  await refuses(async () => verify(await log.lookupFile(anchor, a, { question: question("path", "a") }), pins), /no such kind/);
  await refuses(async () => parseLookup(await log.lookupFile(anchor, a, { question: question("k".repeat(17), "a") })), /more than 16 bytes/);
});

test("lookups: the empty log holds nothing", async () => {
  const { log, pins } = await newLog();
  const extra = concat(utf8("VIX1\x02\0"), await keyOfName("a"));
  assert.deepEqual((await verify(await log.proofFile(0, extra), pins)).present, false);
  await refuses(async () => verify(await log.proofFile(1, extra), pins), /index 0 and no hashes/);
  const { log: full, pins: theirs } = await sample();
  await refuses(async () => verify(await full.proofFile(0, extra), theirs), /not empty/);
  const absent = concat(utf8("VIX1\0\0"), await keyOfName("a"), Uint8Array.of(0, 0));
  await refuses(async () => verify(await log.proofFile(0, absent), pins), /the log is empty/);
});

test("lookups: every flipped bit of a file is refused", async () => {
  const { log, pins, anchor } = await sample();
  await addAll(log, ["a", "x"]);
  for (const name of ["a", "none"]) {
    const key = await keyOfName(name);
    const parts = name === "a" ? { list: { indices: [0, 3, 6], start: 1 }, entries: [3, 6] } : {};
    const file = await log.lookupFile(anchor, key, parts);
    await verify(file, pins, key);
    for (const [bit, flipped] of flips(file)) await refuses(() => verify(flipped, pins, key), /./, `${name}: bit ${bit}`);
    for (let end = 0; end < file.length; end += 7) await refuses(() => verify(file.slice(0, end), pins, key), /./, `${name}: ${end} bytes`);
  }
});

test("attacks: an old anchor under a new checkpoint", async () => {
  const { log, pins, anchor: old } = await sample();
  await addAll(log, ["x"]);
  const key = await keyOfName("x");
  assert.equal((await verify(await log.lookupFile(old, key), pins, key)).present, true, "a tail tells what the anchor does not");
  await log.anchor();
  await refuses(async () => verify(await log.lookupFile(old, key), pins, key), /the tail holds a newer anchor/);
  await refuses(async () => verify(await log.lookupFile(old, key, { tail: uv(0n) }), pins, key), /not every entry after the anchor/);
  const hidden = (bytes) => concat(uv(2n), counted(log.entries[8]), counted(bytes));
  for (const bytes of [utf8("x"), log.entries[8]]) {
    await refuses(async () => verify(await log.lookupFile(old, key, { tail: hidden(bytes) }), pins, key), /the tail does not end the tree/);
  }
  const swapped = concat(uv(2n), counted(log.entries[9]), counted(log.entries[8]));
  await refuses(async () => verify(await log.lookupFile(old, key, { tail: swapped }), pins, key), /newer anchor|does not end the tree/);
});

test("attacks: void anchors in the tail are passed over, and an anchor of another map function is not", async () => {
  const { log, pins, anchor } = await sample();
  await log.voidAnchor();
  await log.add(utf8('{"positions":[7],"type":"vindex-disavow","v":1}'));
  const key = await keyOfName("a");
  const answer = await verify(await log.lookupFile(anchor, key), pins, key);
  assert.deepEqual([answer.count, answer.last, answer.disavowed], [3n, 6n, true]);
  await log.add(utf8(`{"map_fn":"conda-1","root":"${"0".repeat(64)}","tree_size":1,"type":"vindex-root","v":1}`));
  await refuses(async () => verify(await log.lookupFile(anchor, key), pins, key), /newer anchor/);
});

test("attacks: a spoofed anchor, another map function, another place, another log", async () => {
  const { log, pins, anchor } = await sample();
  const key = await keyOfName("a");
  const file = await log.lookupFile(anchor, key);
  await refuses(() => verify(file, { ...pins, mapFn: "json-field:n" }, key), /does not lead to the root/);
  await refuses(() => verify(file, { ...pins, origin: "other.example" }, key), /another log/);
  const stranger = await makeSigner("log.example");
  await refuses(async () => verify(file, { ...pins, policy: await policyOfKey(stranger.vkey) }, key), /log's signature is missing/);
  // An anchor for a size other than its place proves nothing.
  const { log: liar, pins: theirs } = await newLog();
  await addAll(liar, ["a"]);
  const early = await liar.anchor();
  await addAll(liar, ["b"]);
  const at = await liar.add(liar.entries[early.index]);
  await refuses(async () => verify(await liar.lookupFile({ ...early, index: at }, key), theirs, key), /does not lead to the root/);
});

test("attacks: an omitted index, a truncated list, a swapped revision", async () => {
  const { log, pins, anchor } = await sample();
  const key = await keyOfName("a");
  const list = (indices, start = 0) => ({ list: { indices, start } });
  await verify(await log.lookupFile(anchor, key, list([0, 3, 6])), pins, key);
  for (const [parts, reason] of [
    [list([0, 6]), /cut off|in one|no known form|after its end|more than/], [list([0, 3, 7]), /does not end in the element/], [list([0, 4, 6]), /does not have the root/],
    [list([3, 0, 6]), /not ascending/], [list([0, 3, 6, 7]), /./], [{ value: await valueBytes([0, 6]) }, /does not lead to the root/],
    [{ ...list([0, 3, 6], 2), entries: [3] }, /not one that the list is known to hold/], [{ entries: [3] }, /not one that the list is known to hold/],
    [{ ...list([0, 3, 6]), entries: [3, 0] }, /not in ascending order/], [{ ...list([0, 3, 6]), entries: [3, 3] }, /not in ascending order/],
    [{ value: await valueBytes([0, 3, 7]) }, /has the value that is shown/],
  ]) await refuses(async () => verify(await log.lookupFile(anchor, key, parts), pins, key), reason);
  // Another entry at the place of one that is in the list.
  const other = concat(uv(1n), uv(6n), counted(log.entries[5]), (await log.given(5)).slice(1 + counted(log.entries[5]).length));
  await refuses(async () => verify(await log.lookupFile(anchor, key, { entries: other, list: Uint8Array.of(0) }), pins, key), /inclusion proof/);
  await addAll(log, ["b"]);
  const next = await log.anchor();
  await refuses(async () => verify(await log.lookupFile({ ...next, index: anchor.index }, await keyOfName("b")), pins), /does not lead|newer anchor|value that is shown/);
});

test("attacks: absence claimed for a key that is present", async () => {
  const { log, pins, anchor } = await sample();
  const key = await keyOfName("a");
  for (const name of ["b", "c"]) {
    const { proof } = await trieProof(anchor.pairs, await keyOfName(name));
    const other = anchor.pairs.find(([k]) => hex(k) !== hex(key))[0];
    const claim = concat(uv(32n), await keyOfName(name), uv(48n), anchor.pairs.find(([k]) => hex(k) !== hex(other))[1], proof);
    const parts = { magic: utf8("VIX1\0"), value: new Uint8Array(), trie: counted(claim), list: new Uint8Array(), entries: new Uint8Array() };
    await refuses(async () => verify(await log.lookupFile(anchor, key, parts), pins, key), /differs from the key at a bit|does not lead to the root/);
  }
  const empty = { magic: utf8("VIX1\0"), value: new Uint8Array(), trie: Uint8Array.of(0), list: new Uint8Array(), entries: new Uint8Array() };
  await refuses(async () => verify(await log.lookupFile(anchor, key, empty), pins, key), /does not lead to the root/);
});

test("attacks: JSON that parsers read differently maps to nothing, in the tail too", async () => {
  const { log, pins, anchor } = await sample();
  for (const text of ['{"name":"a","name":"b"}', '{"name":"a","\\u006eame":"b"}', '{"name":"a","x":"\\ud800"}', '\ufeff{"name":"a"}', '{"name":"a"}{', '{"name":"a","x":01}']) await log.add(utf8(text));
  const key = await keyOfName("a");
  assert.equal((await verify(await log.lookupFile(anchor, key), pins, key)).count, 3n);
});

test("limits: a tail of 4,096 entries, an entry of 65,535 bytes, trailing bytes", async () => {
  const { log, pins, anchor } = await sample();
  const key = await keyOfName("a");
  const bytes = (number) => concat(uv(BigInt(number)), new Uint8Array(number));
  await refuses(async () => parseLookup(await log.lookupFile(anchor, key, { tail: bytes(4097) })), /more than 4096/);
  await refuses(async () => parseLookup(await log.lookupFile(anchor, key, { tail: concat(uv(1n), counted(new Uint8Array(65_536))) })), /more than 65535 bytes/);
  await refuses(async () => parseLookup(await log.lookupFile(anchor, key, { tail: uv(4096n) })), /cut off/);
  await refuses(async () => parseLookup(await log.lookupFile(anchor, key, { entries: uv(2n ** 63n) })), /cut off/);
  await refuses(async () => parseLookup(await log.lookupFile(anchor, key, { trie: counted(new Uint8Array(16_385)) })), /more than 16384/);
  await refuses(async () => parseLookup(await log.lookupFile(anchor, key, { list: concat(Uint8Array.of(1), uv(3n)) })), /begins behind its end|cut off/);
  await refuses(async () => parseLookup(await log.lookupFile(anchor, key, { list: Uint8Array.of(2) })), /no known form/);
  await refuses(async () => parseLookup(await log.lookupFile(anchor, key, { end: Uint8Array.of(0) })), /bytes after its end/);
  await refuses(async () => parseLookup(await log.lookupFile(anchor, key, { magic: utf8("VIX2\x01") })), /not one of a lookup/);
  await refuses(async () => parseLookup(await log.lookupFile(anchor, key, { magic: utf8("VIX1\x03") })), /no known form/);
  await refuses(async () => parseLookup(await log.proofFile(anchor.index)), /cut off/);
});

test("limits: a tail of 4 MiB", async () => {
  const { log, pins, anchor } = await sample();
  const key = await keyOfName("a");
  const large = new Uint8Array(65_535);
  for (let i = 0; i < 64; i++) await log.add(large);
  const file = await log.lookupFile(anchor, key);
  assert.equal((await verify(file, pins, key)).count, 3n);
  const parsed = parseLookup(file);
  parsed.lookup.tail[0] = new Uint8Array(65_536);
  await refuses(() => verifyLookupFile(parsed, pins, NOW, key), /an entry of the tail has more than 65,535 bytes/);
  await log.add(large);
  await refuses(async () => verify(await log.lookupFile(anchor, key), pins, key), /more than 4 MiB/);
});

test("conda: a record is found by path, name and artifact, and nothing else is", async () => {
  const map = mapFunction("conda-1");
  const { log, pins } = await newLog(map);
  const record = '{"artifact":{"sha256":"' + "a".repeat(64) + '"},"eco":"conda","meta":{"name":"x","sha256":"' + "a".repeat(64) + '"},"path":"noarch/x-1-0.conda","profile":"conda-repodata-1","repo":"sample","type":"record","v":1}';
  await log.add(utf8(record));
  await log.add(utf8(record.replace('"v":1', '"v":2')));
  const anchor = await log.anchor();
  for (const [kind, name, present] of [
    ["path", "conda/sample/noarch/x-1-0.conda", true], ["name", "conda/sample/x", true], ["artifact", `sha256:${"a".repeat(64)}`, true],
    ["path", "conda/sample/noarch/y-1-0.conda", false], ["name", "conda/sample/noarch/x-1-0.conda", false], ["repo", "conda/sample", false],
  ]) {
    const key = await keyOf(map, kind, name);
    const answer = await verify(await log.lookupFile(anchor, key, present ? { entries: [0] } : {}), pins, key);
    assert.deepEqual([answer.present, answer.count], [present, present ? 1n : 0n], `${kind} ${name}`);
  }
});

/** A log of three a and a b whose anchor holds for a what `list` says, or whatever `change` makes of the index. */
async function wrongLog(list, change) {
  const { log } = await newLog();
  await addAll(log, ["a", "b", "a", "x", "a"]);
  const a = await keyOfName("a");
  const anchor = await log.anchor(change ?? (async (pairs) => Promise.all(pairs.map(async ([k, v]) => [k, hex(k) === hex(a) ? await valueBytes(list) : v]))));
  const pins = { origin: "log.example", keys: [await parseVkey(log.signer.vkey)], mapFn: MAP.name };
  const { value, proof } = await trieProof(anchor.pairs, a);
  const file = (fault, ...parts) => log.proofFile(anchor.index, concat(utf8("VIM1"), Uint8Array.of(fault), a, value ?? new Uint8Array(), counted(proof), ...parts));
  return { log, a, pins, file, list };
}

test("misbehaviour: each fault is proven, every flipped bit of its extra data is refused, and an honest log cannot be accused", async () => {
  const all = [0, 2, 4];
  const omitted = await wrongLog([], (pairs) => pairs.filter(([key]) => hex(key) !== hex(omittedKey)));
  for (const [fault, lists, parts] of [
    ["stale", [[0, 2]], async ({ log }) => [2, await log.given(4)]],
    ["skipped", [[0, 4], [0, 1, 4]], async ({ log, list }) => [3, await log.given(2), two(await element(list, list.length - 2), await element(list, list.length - 1))]],
    ["skipped", [[2, 4], [1, 4]], async ({ log, list }) => [3, await log.given(0), Uint8Array.of(1), await element(list, 0)]],
    ["foreign", [[0, 2, 3, 4]], async ({ log, list }) => [4, await log.given(3), await element(list, 2)]],
    ["disorder", [[0, 4, 2]], async ({ list }) => [5, await element(list, 1), await element(list, 2)]],
    ["impossible", [[0, 2, 4, 6]], async () => [7]],
  ]) {
    for (const list of lists) {
      const wrong = await wrongLog(list);
      const [number, ...rest] = await parts(wrong);
      const file = await wrong.file(number, ...rest);
      assert.equal((await verifyMisbehaviour(file, wrong.pins)).fault, fault);
      if (list === lists[0]) await refusesFlips(file, wrong.pins, fault);
      // The same words about an honest log.
      const honest = await wrongLog(all);
      const given = await parts({ ...honest, list: all }).catch(() => null);
      if (given) await refuses(async () => verifyMisbehaviour(await honest.file(...given), honest.pins), /no misbehaviour|maps to the key|is not in a tree|cut off/, fault);
    }
  }
  const file = await omitted.file(1, await omitted.log.given(2));
  assert.equal((await verifyMisbehaviour(file, omitted.pins)).fault, "omitted");
  await refusesFlips(file, omitted.pins, "omitted");
  await refuses(async () => verifyMisbehaviour(await omitted.file(1, await omitted.log.given(3)), omitted.pins), /does not map to the key/);
});

const omittedKey = await keyOfName("a");
const two = (a, b) => concat(Uint8Array.of(2), a, b);

/** Flips what the extra data says; flips of the text around it are those of lookups. */
async function refusesFlips(file, pins, what) {
  const text = new TextDecoder().decode(file);
  for (const [bit, extra] of flips(parseProof(file).extra)) {
    const flipped = utf8(text.replace(/extra .*/, `extra ${toBase64(extra)}`));
    await refuses(() => verifyMisbehaviour(flipped, pins), /./, `${what}: bit ${bit}`);
  }
}

test("misbehaviour: wrong last", async () => {
  const wrong = await wrongLog([], async (pairs) => Promise.all(pairs.map(async ([key, value]) => {
    if (hex(key) !== hex(omittedKey)) return [key, value];
    return [key, concat(be64(3n), be64(3n), (await valueBytes([0, 2, 4])).slice(16))];
  })));
  const file = await wrong.file(6, await element([0, 2, 4], 2));
  assert.equal((await verifyMisbehaviour(file, wrong.pins)).fault, "wrong last");
  await refuses(async () => verifyMisbehaviour(await wrong.file(6, await element([0, 2, 4], 1)), wrong.pins), /no misbehaviour/);
});

test("misbehaviour: misplaced anchors, and those of another map function", async () => {
  const { log } = await newLog();
  await addAll(log, ["a"]);
  const pins = { origin: "log.example", keys: [await parseVkey(log.signer.vkey)], mapFn: MAP.name };
  const anchor = (mapFn, size) => utf8(`{"map_fn":"${mapFn}","root":null,"tree_size":${size},"type":"vindex-root","v":1}`);
  for (const [fault, mapFn, size] of [[8, MAP.name, 7], [9, "conda-1", null], [null, MAP.name, null]]) {
    const index = await log.add(anchor(mapFn, size ?? log.entries.length));
    const file = (number) => log.proofFile(index, concat(utf8("VIM1"), Uint8Array.of(number), counted(log.entries[index])));
    for (const number of [8, 9]) {
      if (number === fault) assert.equal((await verifyMisbehaviour(await file(number), pins)).anchor, BigInt(index));
      else await refuses(async () => verifyMisbehaviour(await file(number), pins), /says what it should/);
    }
    await refuses(async () => verifyMisbehaviour(await file(0), pins), /none that is known/);
    await refuses(async () => verifyMisbehaviour(await file(10), pins), /none that is known/);
  }
  const plain = await log.proofFile(0, concat(utf8("VIM1\x08"), counted(log.entries[0])));
  await refuses(() => verifyMisbehaviour(plain, pins), /not of anchor form/);
  const other = await log.proofFile(0, concat(utf8("VIM1\x08"), counted(anchor("x", 7))));
  await refuses(() => verifyMisbehaviour(other, pins), /does not lead to the root/);
  await refuses(() => verifyMisbehaviour(other, { ...pins, keys: [] }), /origin is not that of a log/);
});

test("lookups: entries are not read where there is no room for proven ones", async () => {
  const { log, anchor } = await sample();
  const file = await log.lookupFile(anchor, await keyOfName("a"), { entries: concat(uv(100n), new Uint8Array(300)) });
  await refuses(() => parseLookup(file), /given entries/);
});
