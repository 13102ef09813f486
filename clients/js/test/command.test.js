// The command: its verdicts and exit codes, without files and with the real program.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { hex, utf8 } from "../src/bytes.js";
import { run } from "../src/command.js";
import { leafHash } from "../src/merkle.js";
import { keyOf, mapFunction } from "../src/vindex.js";
import { ModelLog } from "./model.js";
import { makeSigner } from "./support.js";

const NOW = 1_764_104_400;
const PROGRAM = fileURLToPath(new URL("../bin/verify.mjs", import.meta.url));

/** A log of three entries, its files, and how to ask the command about them. */
async function sample() {
  const map = mapFunction("json-field:name");
  const [signer, own] = [await makeSigner("log.example"), await makeSigner("log.example", 0x04)];
  const log = new ModelLog("log.example", signer, map.name, map.keys);
  const entry = utf8('{"name":"a"}');
  await log.add(entry);
  const anchor = await log.anchor();
  const files = new Map([
    ["present", await log.lookupFile(anchor, await keyOf(map, "", "a"), { list: { indices: [0], start: 0 }, entries: [0] })],
    ["absent", await log.lookupFile(anchor, await keyOf(map, "", "b"))],
    ["entry-proof", await log.proofFile(0)],
    ["entry", entry],
    ["policy", utf8(`log ${signer.vkey}\nquorum none\n`)],
    ["broken", utf8("hello\n")],
  ]);
  const read = (path) => files.get(path) ?? assert.fail(`no file ${path}`);
  return { signer, own, entry, files, ask: (...args) => run(args, read, NOW) };
}

const POLICY = ["--policy", "policy", "--map-fn", "json-field:name"];
const verdicts = ({ out }) => out.split("\n").slice(0, -1).map((line) => JSON.parse(line));

test("command: lookups, by policy and by key", async () => {
  const { signer, own, entry, ask } = await sample();
  const found = await ask("proof", "present", "absent", ...POLICY);
  assert.equal(found.code, 0);
  const [present, absent] = verdicts(found);
  const leaf = hex(await leafHash(entry));
  assert.deepEqual([present.file, present.verdict, present.count, present.last, present.indices], ["present", "present", 1, 0, [0]]);
  assert.deepEqual([present.entries, present.disavowed], [[{ index: 0, leaf }], false]);
  assert.deepEqual([present.origin, present.size, present.as_of, present.age], ["log.example", 2, null, "unknown"]);
  assert.deepEqual([absent.file, absent.verdict, absent.count, absent.last], ["absent", "absent", 0, null]);
  const byKey = await ask("proof", "--vkey", signer.vkey, "--cosigner", own.vkey, "--map-fn=json-field:name", "--key", "a", "present");
  assert.deepEqual([byKey.code, verdicts(byKey)[0].verdict], [0, "present"]);
  const hash = hex(await keyOf(mapFunction("json-field:name"), "", "a"));
  assert.equal((await ask("proof", "present", ...POLICY, "--key-hash", hash)).code, 0);
});

test("command: what is refused says why, and the other files are judged all the same", async () => {
  const { ask } = await sample();
  const { code, ...answer } = await ask("proof", "present", "absent", "broken", ...POLICY, "--key", "a");
  assert.equal(code, 1);
  const [present, absent, broken] = verdicts(answer);
  assert.deepEqual([present.verdict, absent.verdict, broken.verdict], ["present", "refused", "refused"]);
  assert.match(absent.reason, /another question/);
  for (const [args, reason] of [
    [["present", "--policy", "policy"], /does not lead to the root/], [["present", ...POLICY, "--origin", "other.example"], /another log/],
    [["entry-proof", ...POLICY], /--entry says which/], [["entry-proof", ...POLICY, "--entry", "policy"], /does not lead to the root/],
  ]) {
    const refused = await ask("proof", ...args);
    assert.equal(refused.code, 1, args.join(" "));
    assert.match(verdicts(refused)[0].reason, reason, args.join(" "));
  }
});

test("command: proofs of entries", async () => {
  const { ask } = await sample();
  const found = await ask("proof", "entry-proof", ...POLICY, "--entry", "entry", "--origin", "log.example");
  assert.deepEqual([found.code, verdicts(found)[0].verdict, verdicts(found)[0].index], [0, "logged", 0]);
});

test("command: what is no command", async () => {
  const { signer, ask } = await sample();
  for (const [args, reason] of [
    [[], /^usage/], [["prove", "present"], /no command/], [["proof", ...POLICY], /no file/], [["proof", "present"], /either --policy or --vkey/],
    [["proof", "present", ...POLICY, "--vkey", signer.vkey], /either --policy or --vkey/], [["proof", "present", ...POLICY, "--cosigner", signer.vkey], /goes with --vkey/],
    [["proof", "present", ...POLICY, "--nonsense", "1"], /no option/], [["proof", "present", "--policy"], /lacks its value/], [["proof", "present", ...POLICY, "--map-fn", "x"], /given twice/],
    [["proof", "present", ...POLICY, "--now", "-1"], /number of seconds/], [["proof", "present", ...POLICY, "--kind", "path"], /goes with --key/],
    [["proof", "present", ...POLICY, "--key", "a", "--kind", "path"], /no such kind/], [["proof", "present", ...POLICY, "--key-hash", "ab"], /64 lower-case/],
    [["proof", "missing", ...POLICY], /no file missing/], [["proof", "present", "--policy", "entry"], /newline/], [["proof", "present", "--policy", "policy", "--map-fn", "x"], /conda-1 or json-field/],
  ]) {
    const { code, out, err } = await ask(...args);
    assert.deepEqual([code, out], [64, ""], args.join(" "));
    assert.match(err, reason);
  }
  assert.deepEqual((await ask("--help")).code, 0);
});

test("command: the program reads files and the clock", async () => {
  const { files } = await sample();
  const directory = mkdtempSync(join(tmpdir(), "glasslog-command-"));
  try {
    for (const [name, bytes] of files) writeFileSync(join(directory, name), bytes);
    const ask = (...args) => new Promise((done) => {
      execFile(process.execPath, ["--no-warnings", PROGRAM, ...args], { cwd: directory }, (error, out, err) => done({ code: error?.code ?? 0, out, err }));
    });
    const found = await ask("proof", "present", ...POLICY);
    assert.deepEqual([found.code, verdicts(found)[0].verdict, found.err], [0, "present", ""]);
    assert.equal((await ask("proof", "broken", ...POLICY)).code, 1);
    assert.match((await ask("proof", "missing", ...POLICY)).err, /missing/);
    assert.equal((await ask()).code, 64);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
