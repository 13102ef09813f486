import assert from "node:assert/strict";
import test from "node:test";
import { fromBase64, toBase64 } from "../src/base64.js";
import { fromHex, hex, sha256, utf8 } from "../src/bytes.js";
import { parseCheckpoint } from "../src/checkpoint.js";
import { strictPoint, verifyEd25519 } from "../src/ed25519.js";
import { parseNote, parseVkey, verifyNote } from "../src/note.js";
import { checkpointText, flips, makeSigner, readText, refuses } from "./support.js";

const open = async (text, ...vkeys) => verifyNote(parseNote(utf8(text)), await Promise.all(vkeys.map(parseVkey)));

test("base64: the vectors of RFC 4648 §10, and nothing but the canonical spelling", async () => {
  for (const [text, encoded] of [["", ""], ["f", "Zg=="], ["fo", "Zm8="], ["foo", "Zm9v"], ["foob", "Zm9vYg=="], ["fooba", "Zm9vYmE="], ["foobar", "Zm9vYmFy"]]) {
    assert.equal(toBase64(utf8(text)), encoded);
    assert.deepEqual(fromBase64(encoded, "it"), utf8(text));
  }
  for (const bad of ["Zg", "Zg=", "Zh==", "Zm9=", "Zm9v\n", " Zm9v", "Zm9v====", "Zm-v", "=", "Zg==Zg==", "Zm9v=", "ü"]) {
    await refuses(() => fromBase64(bad, "it"), /^it is not canonical base64$/, bad);
  }
});

test("Ed25519: the vectors 2 and 3 of RFC 8032 §7.1", async () => {
  for (const [key, message, signature] of [
    ["3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
      "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"],
    ["fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
      "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"],
  ]) {
    assert.ok(await verifyEd25519(fromHex(key), fromHex(signature), fromHex(message)));
    // S and S + L are the same scalar; only the smaller is a signature.
    const order = 2n ** 252n + 27742317777372353535851937790883648493n;
    const s = BigInt(`0x${hex(fromHex(signature.slice(64)).reverse())}`) + order;
    const other = signature.slice(0, 64) + hex(fromHex(s.toString(16).padStart(64, "0")).reverse());
    assert.ok(!(await verifyEd25519(fromHex(key), fromHex(other), fromHex(message))));
    for (const [bit, flipped] of flips(fromHex(signature))) assert.ok(!(await verifyEd25519(fromHex(key), flipped, fromHex(message))), `bit ${bit}`);
  }
});

test("Ed25519: edge cases on which engines differ are refused", async () => {
  for (const line of (await readText("clients/js/test/data/ed25519.txt")).trimEnd().split("\n").filter((l) => !l.startsWith("#"))) {
    const [, key, r, s, flags, message] = /^(\S+) (\S+) (\S+) (\S+) (.*)$/.exec(line);
    // Components of low order beside a large one do no harm to who verifies without the cofactor; every other oddity does.
    const fine = flags.split(",").every((flag) => ["-", "LowOrderComponentA", "LowOrderComponentR"].includes(flag));
    assert.equal(await verifyEd25519(fromHex(key), fromHex(r + s), utf8(message)), fine, line);
  }
});

test("Ed25519: the points that are refused are those whose order divides 8", () => {
  // The group of RFC 8032 §5.1 in plain arithmetic: eight times such a point is the neutral element.
  const p = 2n ** 255n - 19n;
  const mod = (a) => ((a % p) + p) % p;
  const power = (base, e) => (e === 0n ? 1n : mod((e & 1n ? base : 1n) * power(mod(base * base), e >> 1n)));
  const d = mod(-121665n * power(121666n, p - 2n));
  const root = (square) => [power(square, (p + 3n) / 8n)].map((x) => (mod(x * x) === square ? x : mod(x * power(2n, (p - 1n) / 4n))))[0];
  const double = ([x, y]) => {
    const t = mod(d * x * x * y * y);
    return [mod(2n * x * y * power(mod(1n + t), p - 2n)), mod((y * y + x * x) * power(mod(1n - t), p - 2n))];
  };
  const encode = (y) => fromHex(y.toString(16).padStart(64, "0")).reverse();
  const small = (y) => {
    const square = mod((y * y - 1n) * power(mod(d * y * y + 1n), p - 2n));
    const x = root(square);
    if (mod(x * x) !== square) return false;
    const [ex, ey] = double(double(double([x, y])));
    return ex === 0n && ey === 1n;
  };
  const y8 = 0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7n;
  for (const y of [0n, 1n, p - 1n, y8, p - y8]) assert.ok(small(y) && !strictPoint(encode(y)), `y = ${y}`);
  for (let y = 2n; y < 40n; y++) assert.ok(!small(y) && strictPoint(encode(y)), `y = ${y}`);
  for (let y = p; y < 2n ** 255n; y++) assert.ok(!strictPoint(encode(y)), `y = p + ${y - p}`);
});

test("notes: the examples of signed-note and of Go's note package verify", async () => {
  const example = "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
  const [signed] = await open(example, "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k");
  assert.deepEqual([signed.key.name, signed.time, signed.checked], ["example.com/foo", null, true]);

  const text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
  const peter = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
  const enoch = "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n";
  const keys = ["PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"];
  assert.equal((await open(`${text}\n${peter}${enoch}`, ...keys)).length, 2);
  assert.deepEqual((await open(`${text}\n${peter}${enoch}`, keys[0])).map(({ key }) => key.name), ["PeterNeumann"], "unknown keys are ignored");
  assert.equal((await open(`${text}\n${peter}`)).length, 0);
  await refuses(() => open(`${text}x\n\n${peter}`, keys[0]), /^the signature of PeterNeumann does not verify$/);
  // A signature by a known key that does not verify spoils the note, whatever else stands there.
  await refuses(() => open(`${text}\n${peter}${enoch.replace("rwz+eB", "rwz+eA")}`, ...keys), /EnochRoot does not verify/);
  // A name or an ID alone makes no key known.
  assert.equal((await open(`${text}\n${peter.replace("PeterNeumann", "Peter")}`, keys[0])).length, 0);
});

test("notes: tree heads of the Go checksum database verify", async () => {
  const vkey = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
  for (const [size, root, signature] of [
    ["20852163", "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=", "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8="],
    ["35225469", "vt5T6GaLCXvyHFl9VUvvItR43XZxfLgftEcTyO3eJCQ=", "Az3grpukl5AXaVfYkLiDGORx/DN2nlcS5kZHR5uYOBV2KA2HgXpD+gu9HHONebHLAyaKbbTM75QTtPydhKCExixSfwQ="],
  ]) {
    const note = `go.sum database tree\n${size}\n${root}\n\n— sum.golang.org ${signature}\n`;
    assert.equal(parseCheckpoint(utf8(note)).size, BigInt(size));
    assert.equal((await open(note, vkey)).length, 1);
    await refuses(() => open(note.replace(size, `1${size}`), vkey), /does not verify/);
  }
});

test("notes: every flipped bit of text and signature is refused or leaves the note without a verified signature", async () => {
  const signer = await makeSigner("log.example");
  const whole = utf8(`example\n\n${await signer.sign("example\n")}`);
  for (const [bit, flipped] of flips(whole)) {
    const verified = await open(new TextDecoder().decode(flipped), signer.vkey).then((signed) => signed.length, () => 0);
    assert.equal(verified, 0, `bit ${bit}`);
  }
});

test("notes: what is malformed is refused", async () => {
  const sig = "— a AAAAAAE=\n";
  parseNote(utf8(`text\n\n${sig}`));
  assert.equal(parseNote(utf8(`one\n\n\ntwo\n\n${sig}`)).text, "one\n\n\ntwo\n", "the last empty line divides");
  parseNote(utf8(`text\n\n${sig.repeat(100)}`));
  for (const [text, reason] of [
    [`text\n${sig}`, /no empty line/],
    ["text\n\n", /no signatures/],
    [`text\n\n${sig}`.slice(0, -1), /does not end in a newline/],
    [`text\r\n\n${sig}`, /control character/],
    [`te\txt\n\n${sig}`, /control character/],
    [`text\n\n${sig}\n`, /no signatures/],
    [`text\n\n${sig}x\n`, /not an em dash/],
    ["text\n\n- a AAAAAAE=\n", /not an em dash/],
    ["text\n\n—  AAAAAAE=\n", /is empty/],
    ["text\n\n— a\u00a0b AAAAAAE=\n", /space/],
    ["text\n\n— a+b AAAAAAE=\n", /plus/],
    ["text\n\n— a  AAAAAAE=\n", /not an em dash/],
    ["text\n\n— a AAAAAAE= \n", /not an em dash/],
    ["text\n\n— a AAAAAAE\n", /not canonical base64/],
    ["text\n\n— a AAAAAAF=\n", /not canonical base64/],
    ["text\n\n— a AAAAAA==\n", /nothing but a key ID/],
    [`text\n\n${sig.repeat(101)}`, /more than 100 signatures/],
  ]) await refuses(() => parseNote(utf8(text)), reason, JSON.stringify(text));
  await refuses(() => parseNote(Uint8Array.of(0xff, 10, 10)), /not UTF-8/);
  await refuses(() => parseNote(new Uint8Array((1 << 19) + 1)), /more than 524288 bytes/);
});

test("vkeys: malformed ones and key IDs of another key are refused", async () => {
  const good = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
  assert.equal(hex((await parseVkey(good)).id), "c74f20a3");
  for (const [vkey, reason] of [
    ["", /name\+8 lower-case/],
    ["PeterNeumann", /name\+8 lower-case/],
    [good.slice(0, -1), /not canonical base64/],
    [`${good}\n`, /name\+8 lower-case/],
    [good.replace("c74f20a3", "C74F20A3"), /name\+8 lower-case/],
    [good.replace("c74f20a3", "c74f20a"), /name\+8 lower-case/],
    [good.replace("c74f20a3", "c74f20a4"), /key ID is not that of the key/],
    [good.replace("Peter", "Pieter"), /key ID is not that of the key/],
    [good.replace("PeterNeumann", ""), /is empty/],
    [good.replace("PeterNeumann", "Peter Neumann"), /holds a space/],
    [good.replace("PeterNeumann", "p".repeat(256)), /more than 255 bytes/],
    ["PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==", /35 bytes, not 32|not canonical base64/],
    ["PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", /type 0x65 is not known/],
  ]) await refuses(() => parseVkey(vkey), reason, vkey);
});

test("checkpoints: the examples parse; what is malformed is refused", async () => {
  const text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
  const sig = "\n— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";
  const parsed = parseCheckpoint(utf8(text + sig));
  assert.deepEqual([parsed.origin, parsed.size, parsed.extensions], ["example.com/behind-the-sofa", 20852163n, []]);
  assert.deepEqual(parseCheckpoint(utf8(`${text}one\ntwo\n${sig}`)).extensions, ["one", "two"]);
  assert.equal(parseCheckpoint(utf8(text.replace("20852163", "18446744073709551615") + sig)).size, 2n ** 64n - 1n);
  for (const [from, to, reason] of [
    ["example.com/behind-the-sofa\n", "", /fewer than three lines/],
    ["example.com/behind-the-sofa\n", "\n", /empty line/],
    ["example.com/behind-the-sofa", "o".repeat(256), /more than 255 bytes/],
    ["2I=\n", "2I=\n\nextension\n", /empty line/],
    ["20852163", "020852163", /without leading zeroes/],
    ["20852163", "+20852163", /decimal/],
    ["20852163", "-1", /decimal/],
    ["20852163", "", /empty line/],
    ["20852163", "18446744073709551616", /more than 64 bits/],
    ["20852163", "2085216३", /decimal/],
    ["2I=", "2I", /canonical base64/],
    ["2I=", "2J=", /canonical base64/],
    ["CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=", "CsUY", /32 bytes/],
  ]) await refuses(() => parseCheckpoint(utf8(text.replace(from, to) + sig)), reason, JSON.stringify(to));
});

test("cosignatures: those that Go made verify; ML-DSA-44 is told and not checked", async () => {
  let checked = 0;
  for (const block of (await readText("crates/glasslog-core/testdata/cosignatures.txt")).split(/^== /m).slice(1)) {
    const [head, note] = block.split("\nnote\n");
    if (note === undefined) continue; // A subtree's, which no note holds.
    const field = (name) => new RegExp(`^${name} (.*)$`, "m").exec(head)?.[1];
    const keys = ["log-vkey", "cosigner-vkey-0x04", "cosigner-vkey-0x06"].map(field).filter((vkey) => vkey !== undefined);
    const end = note.lastIndexOf("=\n") + 2;
    for (const { key, time, checked: sound } of await open(note.slice(0, end), ...keys)) {
      assert.equal(time, key.type === 0x01 ? null : BigInt(field("timestamp")), head);
      assert.equal(sound, key.type !== 0x06, head);
      checked++;
    }
  }
  assert.ok(checked >= 16, `${checked}`);
});

test("cosignatures: another time, a time beyond 2^63 − 1, or the wrong length is refused", async () => {
  const [witness, text] = [await makeSigner("witness.example/w", 0x04), checkpointText("log.example", 1, await sha256())];
  const line = await witness.sign(text, 7);
  assert.equal((await open(`${text}\n${line}`, witness.vkey))[0].time, 7n);
  const bytes = fromBase64(line.trim().split(" ")[2], "it");
  const with_ = (change) => `${text}\n— witness.example/w ${toBase64(change(bytes.slice()))}\n`;
  await refuses(() => open(with_((b) => (b.set([8], 11), b)), witness.vkey), /does not verify/);
  await refuses(() => open(with_((b) => (b.set([0x80], 4), b)), witness.vkey), /beyond 2\^63 − 1/);
  await refuses(() => open(with_((b) => b.slice(0, -1)), witness.vkey), /wrong length/);
  const huge = await witness.sign(text, 2n ** 63n);
  await refuses(() => open(`${text}\n${huge}`, witness.vkey), /beyond 2\^63 − 1/);
  // A signature of type 0x01 by the same bytes is another key's.
  const log = await makeSigner("witness.example/w");
  assert.equal((await open(`${text}\n${await log.sign(text)}`, witness.vkey)).length, 0);
});
