// Entries of a conda log (docs/spec/conda-entry.md), the rules named `conda-1`.

import { check, sha256, utf8 } from "./bytes.js";
import { canonicalJson, canonicalObject, JsonNumber, natural } from "./json.js";

/** @import { Bytes } from "./bytes.js" */
/** @import { Json, JsonObject } from "./types.d.ts" */

/**
 * An entry that a log of `conda-1` accepts.
 * @typedef {{ type: "record" | "tombstone" | "snapshot" | "epoch" | "end", members: JsonObject }} CondaEntry
 */

/** @typedef {(value: Json, entry: JsonObject) => boolean} Grammar */

const MAX_ENTRY_BYTES = 65_535;
const REASONS = ["float", "duplicate", "integer", "surrogate", "depth", "type", "size"];

/** @type {(pattern: RegExp) => Grammar} */
const text = (pattern) => (value) => typeof value === "string" && pattern.test(value);
/** @type {(...words: string[]) => Grammar} */
const word = (...words) => (value) => typeof value === "string" && words.includes(value);
/** @type {Grammar} */
const integer = (value) => natural(value) !== null;
/** @type {Grammar} */
const repo = (value) =>
  text(/^[A-Za-z0-9][A-Za-z0-9._-]*(\/[A-Za-z0-9][A-Za-z0-9._-]*)*$/)(value, new Map()) &&
  String(value).length <= 200 && !String(value).endsWith("/label/main");
/** @type {Grammar} */
const origin = (value) => value === null || (text(/^[^+\p{White_Space}\p{Cc}]+$/u)(value, new Map()) && utf8(String(value)).length <= 255);

/** Members that every type has. @type {Record<string, Grammar>} */
const COMMON = { eco: word("conda"), repo, v: (value) => value instanceof JsonNumber && value.text === "1" };
/** @type {Record<string, Grammar>} */
const PROFILED = { ...COMMON, profile: word("conda-repodata-1") };
const PATH = text(/^[a-z0-9_-]+\/[^/]+$/u);

/** The members of each type; those in OPTIONAL may be absent. @type {Map<string, Record<string, Grammar>>} */
const TYPES = new Map(Object.entries({
  record: { ...PROFILED, artifact: (v) => v instanceof Map, meta: (v) => v === null || v instanceof Map, path: PATH },
  tombstone: { ...PROFILED, name: text(/^/), path: PATH, reason: word("removed", "vanished") },
  snapshot: {
    ...PROFILED, count: integer, date, digest: text(/^[0-9a-f]{64}$/), source: word("json", "shards"), subdir: text(/^[a-z0-9_-]+$/),
  },
  epoch: { ...COMMON, note: text(/^/) },
  end: { ...COMMON, next: origin, note: text(/^/) },
}));
const OPTIONAL = new Set(["tombstone.name"]);

/**
 * @param {Uint8Array} bytes
 * @returns {CondaEntry} refuses what a log of `conda-1` does not accept; the message is the first rule that is broken
 */
export function parseCondaEntry(bytes) {
  check(bytes.length <= MAX_ENTRY_BYTES, "length");
  const members = canonicalObject(bytes);
  const type = members.get("type");
  const grammar = typeof type === "string" ? TYPES.get(type) : undefined;
  check(grammar, "member type");
  const extra = type === "record" && members.get("meta") === null ? ["type", "meta_raw"] : ["type"];
  checkMembers("", members, grammar, extra, (name) => OPTIONAL.has(`${type}.${name}`));
  if (type === "record") checkArtifact(members);
  return { type: /** @type {CondaEntry["type"]} */ (type), members };
}

/**
 * @param {string} prefix
 * @param {JsonObject} members
 * @param {Record<string, Grammar>} grammar
 * @param {string[]} extra names that are needed and looked at elsewhere
 * @param {(name: string) => boolean} optional
 */
function checkMembers(prefix, members, grammar, extra, optional) {
  for (const name of members.keys()) check(Object.hasOwn(grammar, name) || extra.includes(name), `member ${prefix}${name}`);
  for (const name of [...Object.keys(grammar), ...extra]) {
    const value = members.get(name);
    check(value === undefined ? optional(name) : (grammar[name]?.(value, members) ?? true), `member ${prefix}${name}`);
  }
}

/** @type {Grammar} */
function date(value) {
  if (typeof value !== "string" || !/^[0-9]{4}-[0-9]{2}-[0-9]{2}$/.test(value)) return false;
  const day = new Date(`${value}T00:00:00Z`);
  return !Number.isNaN(day.getTime()) && day.toISOString().startsWith(value);
}

/** The form of each member of `artifact`. @type {Record<string, Grammar>} */
const ARTIFACT = { md5: text(/^[0-9a-f]{32}$/), sha256: text(/^[0-9a-f]{64}$/), size: integer };

/** @param {JsonObject} entry a record, whose `artifact` is what its `meta` gives (§4), or of the right form where that is null (§5) */
function checkArtifact(entry) {
  const artifact = /** @type {JsonObject} */ (entry.get("artifact"));
  const meta = entry.get("meta");
  if (!(meta instanceof Map)) {
    checkMembers("artifact.", artifact, ARTIFACT, [], () => true);
    const raw = entry.get("meta_raw");
    check(raw instanceof Map, "member meta_raw");
    checkMembers("meta_raw.", raw, { reason: word(...REASONS), sha256: text(/^[0-9a-f]{64}$/), size: integer }, [], () => false);
    return;
  }
  for (const name of new Set([...Object.keys(ARTIFACT), ...artifact.keys()])) {
    const value = meta.get(name) ?? null;
    const derived = typeof value === "string" ? value.replace(/[A-F]/g, (digit) => digit.toLowerCase()) : value;
    const expected = ARTIFACT[name]?.(derived, entry) ? canonicalJson(derived) : null;
    const given = artifact.get(name);
    check((given === undefined ? null : canonicalJson(given)) === expected, `member artifact.${name}`);
  }
}

/**
 * @param {Uint8Array} bytes an accepted entry
 * @returns {Promise<Bytes>} its identity (§7): entries with one identity are versions of one thing
 */
export async function condaIdentity(bytes) {
  const { type, members } = parseCondaEntry(bytes);
  if (type === "epoch" || type === "end") return sha256(Uint8Array.of(0), bytes);
  const names = type === "snapshot" ? ["repo", "subdir", "date"] : ["repo", "path"];
  return sha256(utf8(canonicalJson(["conda", ...names.map((name) => members.get(name) ?? null)])));
}

/**
 * The names by which an entry is found: the keys of map function `conda-1`, before they are hashed.
 * @param {Uint8Array} bytes any entry of a log
 * @returns {[kind: string, name: string][]} nothing for bytes that are no entry of §3
 */
export function condaNames(bytes) {
  /** @type {CondaEntry} */
  let entry;
  try {
    entry = parseCondaEntry(bytes);
  } catch {
    return [];
  }
  const member = (/** @type {string} */ name) => String(entry.members.get(name));
  const whole = `conda/${member("repo")}`;
  switch (entry.type) {
    case "record": return recordNames(entry.members, whole);
    case "tombstone": return [["path", `${whole}/${member("path")}`], ...packageName(entry.members.get("name"), whole)];
    case "snapshot": return [["subdir", `${whole}/${member("subdir")}`]];
    default: return [["repo", whole]];
  }
}

/**
 * @param {JsonObject} members
 * @param {string} whole
 * @returns {[string, string][]}
 */
function recordNames(members, whole) {
  const [artifact, meta] = [members.get("artifact"), members.get("meta")];
  /** @type {[string, string][]} */
  const names = [["path", `${whole}/${members.get("path")}`]];
  if (meta instanceof Map) names.push(...packageName(meta.get("name"), whole));
  const hash = ["sha256", "md5"].find((name) => artifact instanceof Map && artifact.has(name));
  if (hash && artifact instanceof Map) names.push(["artifact", `${hash}:${artifact.get(hash)}`]);
  return names;
}

/**
 * @param {Json | undefined} name
 * @param {string} whole
 * @returns {[string, string][]}
 */
function packageName(name, whole) {
  return typeof name === "string" && !name.includes("/") ? [["name", `${whole}/${name}`]] : [];
}
