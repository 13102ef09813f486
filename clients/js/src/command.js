// What the command says (bin/verify.mjs): files, pins and a time in, a verdict as JSON for each file out. The caller reads files and the clock.

import { check, fromHex, hex, Refused } from "./bytes.js";
import { parseLookup, verifyLookupFile } from "./lookup.js";
import { leafHash } from "./merkle.js";
import { verifyMisbehaviour } from "./misbehaviour.js";
import { parsePolicy, policyOfKey } from "./policy.js";
import { parseProof, verifyProof } from "./proof.js";
import { keyOf, mapFunction } from "./vindex.js";

/** @import { Bytes } from "./bytes.js" */
/** @import { Policy, VerifiedCheckpoint, When } from "./policy.js" */

export const USAGE = `usage: verify.mjs proof FILE... (--policy FILE | --vkey VKEY [--cosigner VKEY]) [--origin ORIGIN] [--map-fn NAME]
                    [--key KEY [--kind KIND] | --key-hash HEX] [--entry FILE] [--now SECONDS] [--max-age SECONDS]

Verifies proof files offline: lookups (VIX1), proofs of misbehaviour (VIM1), and any other as that of the entry in --entry.
Writes one line of JSON for each file. Exit code: 0 if all are accepted, 1 if one is refused, 64 for anything else.
  --origin    the log; it may be left out where the policy has one
  --map-fn    the map function of its index [conda-1]
  --key       the name that was asked for; without it, or --key-hash, a lookup answers whatever question it holds
  --kind      what KEY means [the map function's first kind]
  --now       the time, in seconds since 1970 [the clock's]
  --max-age   from which age on a checkpoint is stale [86400]; age is told, not judged
`;

/** What was asked for is no command; the message says why. */
class UsageError extends Error {}

const OPTIONS = ["policy", "vkey", "cosigner", "origin", "map-fn", "key", "kind", "key-hash", "entry", "now", "max-age"];

/** @typedef {{ options: Map<string, string>, files: string[] }} Command */
/** @typedef {{ origin: string, policy: Policy, mapFn: string, asked: Bytes | undefined, entry: Bytes | null, when: When }} Setting */
/** @typedef {(path: string) => Uint8Array | Promise<Uint8Array>} ReadFile throws where there is no such file */

/**
 * @param {string[]} args those after the program's name
 * @param {ReadFile} readFile
 * @param {number} clock seconds since 1970
 * @returns {Promise<{ code: number, out: string, err: string }>}
 */
export async function run(args, readFile, clock) {
  if (args.length === 0 || args.includes("--help")) return args.length === 0 ? { code: 64, out: "", err: USAGE } : { code: 0, out: USAGE, err: "" };
  try {
    const { options, files } = parseArgs(args);
    const setting = await readSetting(options, readFile, clock);
    let [out, code] = ["", 0];
    for (const file of files) {
      const verdict = await judge(await readFile(file), setting);
      if (verdict.verdict === "refused") code = 1;
      out += `${JSON.stringify({ file, ...verdict }, plain)}\n`;
    }
    return { code, out, err: "" };
  } catch (error) {
    // Not about a proof: an option, a policy, a file that is not there, an engine without Ed25519.
    const message = error instanceof Error ? error.message : String(error);
    return { code: 64, out: "", err: `${message}\n${error instanceof UsageError ? USAGE : ""}` };
  }
}

/**
 * @param {string[]} args
 * @returns {Command}
 */
function parseArgs([verb, ...rest]) {
  if (verb !== "proof") throw new UsageError(`${verb} is no command`);
  const [options, files] = [new Map(), /** @type {string[]} */ ([])];
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    const [, name, joined] = /^--([a-z-]+)(?:=(.*))?$/s.exec(word) ?? [];
    if (name === undefined) {
      files.push(word);
      continue;
    }
    const value = joined ?? rest.shift();
    if (!OPTIONS.includes(name) || value === undefined) throw new UsageError(`--${name} is no option, or lacks its value`);
    if (options.has(name)) throw new UsageError(`--${name} was given twice`);
    options.set(name, value);
  }
  if (files.length === 0) throw new UsageError("no file was given");
  return { options, files };
}

/**
 * @param {Map<string, string>} options
 * @param {ReadFile} readFile
 * @param {number} clock
 * @returns {Promise<Setting>}
 */
async function readSetting(options, readFile, clock) {
  const [policyFile, vkey, entryFile] = ["policy", "vkey", "entry"].map((name) => options.get(name));
  if ((policyFile === undefined) === (vkey === undefined)) throw new UsageError("give either --policy or --vkey");
  if (policyFile !== undefined && options.has("cosigner")) throw new UsageError("--cosigner goes with --vkey; a policy has a line for it");
  const policy = policyFile === undefined ? await policyOfKey(vkey ?? "", options.get("cosigner")) : await parsePolicy(await readFile(policyFile));
  const origins = [...new Set(policy.logs.map((log) => log.name))];
  const origin = options.get("origin") ?? origins[0];
  if (origin === undefined || (!options.has("origin") && origins.length > 1)) throw new UsageError("the policy does not have one log: give --origin");
  const mapFn = options.get("map-fn") ?? "conda-1";
  return {
    origin, policy, mapFn, asked: await askedKey(options, mapFn),
    entry: entryFile === undefined ? null : new Uint8Array(await readFile(entryFile)),
    when: { now: seconds(options, "now") ?? clock, maxAge: seconds(options, "max-age") ?? 86_400 },
  };
}

/**
 * @param {Map<string, string>} options
 * @param {string} mapFn
 * @returns {Promise<Bytes | undefined>}
 */
async function askedKey(options, mapFn) {
  const [key, kind, hash] = ["key", "kind", "key-hash"].map((name) => options.get(name));
  if (hash !== undefined) {
    if (key !== undefined || kind !== undefined || !/^[0-9a-f]{64}$/.test(hash)) throw new UsageError("--key-hash is 64 lower-case hexadecimal digits, in place of --key and --kind");
    return fromHex(hash);
  }
  if (key === undefined && kind !== undefined) throw new UsageError("--kind goes with --key");
  const map = mapFunction(mapFn);
  return key === undefined ? undefined : keyOf(map, kind ?? map.kinds[0] ?? "", key);
}

/**
 * @param {Map<string, string>} options
 * @param {string} name
 */
function seconds(options, name) {
  const text = options.get(name);
  if (text !== undefined && !/^(0|[1-9][0-9]{0,14})$/.test(text)) throw new UsageError(`--${name} is a number of seconds`);
  return text === undefined ? undefined : Number(text);
}

/**
 * @param {Uint8Array} bytes a proof file
 * @param {Setting} setting
 * @returns {Promise<{ verdict: string } & Record<string, unknown>>}
 */
async function judge(bytes, setting) {
  try {
    const { extra } = parseProof(bytes);
    const magic = extra === null ? "" : String.fromCharCode(...extra.subarray(0, 4));
    if (magic === "VIX1") return await judgeLookup(bytes, setting);
    return magic === "VIM1" ? await judgeMisbehaviour(bytes, setting) : await judgeEntry(bytes, setting);
  } catch (error) {
    if (error instanceof Refused) return { verdict: "refused", reason: error.message };
    throw error;
  }
}

/**
 * @param {Uint8Array} bytes
 * @param {Setting} setting
 */
async function judgeLookup(bytes, { asked, when, ...pins }) {
  const { key, present, count, last, newest, entries, disavowed, checkpoint } = await verifyLookupFile(parseLookup(bytes), pins, when, asked);
  const shown = await Promise.all(entries.map(async (entry) => ({ index: entry.index, leaf: hex(await leafHash(entry.bytes)) })));
  return { verdict: present ? "present" : "absent", key: hex(key), count, last, indices: newest, entries: shown, disavowed, ...about(checkpoint) };
}

/**
 * @param {Uint8Array} bytes
 * @param {Setting} setting
 */
async function judgeMisbehaviour(bytes, { origin, policy, mapFn }) {
  const { fault, anchor, entry, checkpoint } = await verifyMisbehaviour(bytes, { origin, keys: policy.logs, mapFn });
  return { verdict: "misbehaviour", fault, anchor, entry, origin, size: checkpoint.size, root: hex(checkpoint.root) };
}

/**
 * @param {Uint8Array} bytes
 * @param {Setting} setting
 */
async function judgeEntry(bytes, { origin, policy, entry, when }) {
  check(entry !== null, "the proof is of an entry: --entry says which it must be");
  const proof = parseProof(bytes);
  check(proof.checkpoint.origin === origin, "the checkpoint is of another log");
  const leaf = await leafHash(entry);
  return { verdict: "logged", index: proof.index, leaf: hex(leaf), ...about(await verifyProof(proof, leaf, policy, when)) };
}

/** @param {VerifiedCheckpoint} checkpoint */
function about({ origin, size, root, asOf, age, notChecked, splittable }) {
  return { origin, size, root: hex(root), as_of: asOf, age, not_checked: notChecked, splittable };
}

/**
 * Numbers that JavaScript holds exactly are JSON numbers, larger ones are strings of digits.
 * @param {string} _name
 * @param {unknown} value
 */
function plain(_name, value) {
  if (typeof value !== "bigint") return value;
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : String(value);
}
