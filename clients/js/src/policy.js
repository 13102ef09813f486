// Policies (c2sp.org/tlog-policy), and what makes a checkpoint believed: the log's signature, the quorum, and the time as of which it holds.

import { check, equal, fromUtf8 } from "./bytes.js";
import { emptyRoot } from "./merkle.js";
import { parseVkey, TYPE, verifyNote } from "./note.js";

/** @import { Bytes } from "./bytes.js" */
/** @import { ParsedCheckpoint } from "./checkpoint.js" */
/** @import { Signed, Vkey } from "./note.js" */

/**
 * `unit` says which witnesses are one and the same: they share a key name or a URL, and count once.
 * @typedef {{ kind: "witness", key: Vkey, url: string | null, unit: number }} Witness
 */
/** @typedef {{ kind: "group", threshold: number, members: Member[] }} Group */
/** @typedef {Witness | Group} Member */
/**
 * `quorum` null is `quorum none`. `splittable`: two disjoint sets of witnesses satisfy the quorum, so that honest witnesses could cosign
 * two views of the log; not so for `quorum none`, which promises nothing. `cosigner` is the log's own, which no policy file names: under
 * `quorum none` its times say how old a checkpoint is, and it never counts as a witness.
 * @typedef {{ logs: Vkey[], cosigner: Vkey | null, witnesses: Witness[], quorum: Member | null, splittable: boolean }} Policy
 */
/**
 * When a verification takes place, in seconds: `now` since the epoch, `maxAge` the age at which a checkpoint is stale (a day by default).
 * @typedef {{ now: number, maxAge?: number }} When
 */
/**
 * A checkpoint that is verified under a policy. `asOf` is the largest time from which on cosignatures fill the quorum, null where nothing
 * says it; `age` is about that time. `notChecked` names keys of the policy whose cosignatures are there and cannot be checked here.
 * @typedef {{
 *   origin: string, size: bigint, root: Bytes, extensions: string[],
 *   asOf: bigint | null, age: "fresh" | "stale" | "unknown",
 *   cosigners: { name: string, time: bigint }[], notChecked: string[], splittable: boolean,
 * }} VerifiedCheckpoint
 */

const MAX_POLICY_BYTES = 1 << 20;
/** A cosignature's time may be this much later than now, in seconds. */
const CLOCK_SKEW = 300n;
const DAY = 86_400;

/**
 * @param {Uint8Array} bytes
 * @returns {Promise<Policy>}
 */
export async function parsePolicy(bytes) {
  check(bytes.length <= MAX_POLICY_BYTES, `the policy has more than ${MAX_POLICY_BYTES} bytes`);
  // tlog-policy: names are opaque octets, so each octet becomes one character.
  const text = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  check(!/[^\t\n\x20-\x7e\x80-\xff]/.test(text), "the policy holds a control character");
  check(text.endsWith("\n"), "the policy's last line does not end in a newline");
  const reader = new PolicyReader();
  for (const [i, line] of text.split("\n").entries()) {
    const items = line.split(/[ \t]+/).filter((item) => item !== "");
    if (items.length > 0 && !items[0]?.startsWith("#")) await reader.line(items, `line ${i + 1} of the policy`);
  }
  return reader.finish();
}

/**
 * The policy of someone who trusts a log's key alone.
 * @param {string} vkey the log's
 * @param {string} [cosigner] vkey of the log's own cosigner
 * @returns {Promise<Policy>}
 */
export async function policyOfKey(vkey, cosigner) {
  const log = await parseVkey(vkey);
  check(log.type !== TYPE.cosignature, "a log's key has a type of its own, not that of Ed25519 cosignatures");
  const policy = { logs: [log], cosigner: null, witnesses: [], quorum: null, splittable: false };
  if (cosigner === undefined) return policy;
  const own = await parseVkey(cosigner);
  check(own.type !== TYPE.ed25519 && own.name === log.name, "a log's own cosigner makes cosignatures under the log's name");
  check(!equal(own.publicKey, log.publicKey), "a log's own cosigner has a key of its own");
  return { ...policy, cosigner: own };
}

class PolicyReader {
  /** @type {Vkey[]} */
  logs = [];
  /** @type {Map<string, Member>} */
  names = new Map();
  /** @type {Set<string>} */
  used = new Set();
  /** @type {Member | null | undefined} */
  quorum = undefined;

  /**
   * @param {string[]} items
   * @param {string} where
   */
  async line([keyword = "", ...items], where) {
    if (keyword === "log") {
      check(items.length === 1 || items.length === 2, `${where}: log is followed by a vkey and at most a URL`);
      this.logs.push(await this.vkey(items[0] ?? "", [TYPE.ed25519, TYPE.mlDsa44], where));
    } else if (keyword === "witness") {
      check(items.length === 2 || items.length === 3, `${where}: witness is followed by a name, a vkey and at most a URL`);
      const key = await this.vkey(items[1] ?? "", [TYPE.cosignature, TYPE.mlDsa44], where);
      this.define(items[0] ?? "", { kind: "witness", key, url: items[2] ?? null, unit: this.names.size }, where);
    } else if (keyword === "group") {
      this.group(items, where);
    } else {
      check(keyword === "quorum", `${where}: the first word is not known`);
      check(items.length === 1, `${where}: quorum is followed by one name`);
      check(this.quorum === undefined, `${where}: a second quorum`);
      this.quorum = items[0] === "none" ? null : this.named(items[0] ?? "", where);
    }
  }

  /**
   * @param {string} octets
   * @param {number[]} types
   * @param {string} where
   */
  async vkey(octets, types, where) {
    const key = await parseVkey(fromUtf8(Uint8Array.from(octets, (c) => c.charCodeAt(0)), where));
    check(types.includes(key.type), `${where}: a key of this type does not belong here`);
    const keys = [...this.logs, ...witnessesOf(this.names).map((witness) => witness.key)];
    check(!keys.some((other) => equal(other.publicKey, key.publicKey)), `${where}: this public key was there before`);
    return key;
  }

  /**
   * @param {string[]} items
   * @param {string} where
   */
  group([name = "", threshold = "", ...names], where) {
    check(names.length > 0, `${where}: a group has a name, a threshold and members`);
    const members = names.map((member) => this.named(member, where));
    for (const member of names) {
      check(!this.used.has(member), `${where}: a name is member of a group twice`);
      this.used.add(member);
    }
    check(/^(all|any|[1-9][0-9]{0,5})$/.test(threshold), `${where}: a threshold is all, any or a number`);
    const k = threshold === "all" ? members.length : threshold === "any" ? 1 : Number(threshold);
    check(k <= members.length, `${where}: the threshold is more than the group has members`);
    this.define(name, { kind: "group", threshold: k, members }, where);
  }

  /**
   * @param {string} name
   * @param {string} where
   */
  named(name, where) {
    const member = this.names.get(name);
    check(member, `${where}: a name is not defined before it is used`);
    return member;
  }

  /**
   * @param {string} name
   * @param {Member} member
   * @param {string} where
   */
  define(name, member, where) {
    check(name !== "none" && !this.names.has(name), `${where}: a name is defined twice`);
    this.names.set(name, member);
  }

  /** @returns {Policy} */
  finish() {
    check(this.quorum !== undefined, "the policy has no quorum");
    const witnesses = witnessesOf(this.names);
    mergeUnits(witnesses);
    if (this.quorum !== null) checkUnits(this.quorum, new Set());
    return { logs: this.logs, cosigner: null, witnesses, quorum: this.quorum, splittable: this.quorum !== null && splittable(this.quorum) };
  }
}

/** @param {Map<string, Member>} names */
function witnessesOf(names) {
  return [...names.values()].filter((member) => member.kind === "witness");
}

/**
 * Gives one unit to witnesses that share a key name or a URL.
 * @param {Witness[]} witnesses
 */
function mergeUnits(witnesses) {
  for (const a of witnesses) {
    for (const b of witnesses) {
      if (a.unit === b.unit || (a.key.name !== b.key.name && (a.url === null || a.url !== b.url))) continue;
      const [from, to] = [b.unit, a.unit];
      for (const witness of witnesses) if (witness.unit === from) witness.unit = to;
    }
  }
}

/**
 * Refuses a quorum in which one witness could count in two groups, or one that cannot be filled.
 * @param {Member} member
 * @param {Set<number>} elsewhere units met in other groups
 */
function checkUnits(member, elsewhere) {
  if (member.kind === "witness") return;
  const units = new Set(member.members.filter((m) => m.kind === "witness").map((m) => m.unit));
  for (const unit of units) {
    check(!elsewhere.has(unit), "witnesses that share a name or a URL are one, and are in two groups");
    elsewhere.add(unit);
  }
  const groups = member.members.filter((m) => m.kind === "group");
  check(member.threshold <= units.size + groups.length, "a threshold is more than there are witnesses with a name and URL of their own");
  for (const group of groups) checkUnits(group, elsewhere);
}

/**
 * @param {Member} member
 * @returns {boolean} whether two disjoint sets of witnesses satisfy it
 */
function splittable(member) {
  if (member.kind === "witness") return false;
  const groups = member.members.filter((m) => m.kind === "group");
  const units = new Set(member.members.filter((m) => m.kind === "witness").map((m) => m.unit));
  // A member that can be split serves both sets, any other serves one.
  return 2 * member.threshold <= units.size + groups.length + groups.filter(splittable).length;
}

/**
 * @param {Member} member
 * @param {Set<Vkey>} cosigned
 * @returns {boolean}
 */
function filled(member, cosigned) {
  if (member.kind === "witness") return cosigned.has(member.key);
  const met = member.members.filter((m) => filled(m, cosigned));
  const units = new Set(met.map((m) => (m.kind === "witness" ? m.unit : m)));
  return units.size >= member.threshold;
}

/**
 * @param {ParsedCheckpoint} checkpoint
 * @param {Policy} policy
 * @param {When} when
 * @returns {Promise<VerifiedCheckpoint>}
 */
export async function verifyCheckpoint(checkpoint, policy, { now, maxAge = DAY }) {
  const { note, origin, size, root, extensions } = checkpoint;
  const logs = policy.logs.filter((key) => key.name === origin);
  const own = policy.cosigner?.name === origin ? [policy.cosigner] : [];
  check(logs.length > 0, "the origin is not that of a log of the policy");
  // A log's own cosigner is named as the log, and vouches for nothing as a witness.
  const witnesses = policy.witnesses.map((witness) => witness.key).filter((key) => key.name !== origin);
  // Whoever's key is known must have signed rightly, also where the signature counts for nothing here.
  const signed = await verifyNote(note, [...policy.logs, ...own, ...policy.witnesses.map((witness) => witness.key)]);

  const latest = BigInt(Math.floor(now)) + CLOCK_SKEW;
  const counting = signed.filter(({ checked, time }) => checked && (time === null || time <= latest));
  check(counting.some(({ key }) => logs.includes(key)), "the log's signature is missing, or of a kind that cannot be checked here");
  const by = (/** @type {Vkey[]} */ keys) => counting.filter(({ key }) => keys.includes(key));
  const asOf = policy.quorum === null ? newest(by(own)) : asOfQuorum(policy.quorum, by(witnesses));
  check(policy.quorum === null || asOf !== null, "too few witnesses of the policy cosigned this checkpoint");
  if (size === 0n) check(equal(root, await emptyRoot()), "the root of an empty tree is not the SHA-256 of nothing");

  const stale = asOf !== null && asOf < BigInt(Math.floor(now)) - BigInt(maxAge);
  return {
    origin, size, root, extensions, asOf,
    age: asOf === null ? "unknown" : stale ? "stale" : "fresh",
    cosigners: counting.flatMap(({ key, time }) => (time === null ? [] : [{ name: key.name, time }])),
    notChecked: signed.filter(({ checked }) => !checked).map(({ key }) => key.name),
    splittable: policy.splittable,
  };
}

/** @param {Signed[]} signed */
function newest(signed) {
  return signed.reduce((max, { time }) => (time !== null && (max === null || time > max) ? time : max), /** @type {bigint | null} */ (null));
}

/**
 * @param {Member} quorum
 * @param {Signed[]} cosigned
 * @returns {bigint | null} the largest t such that the cosignatures of time t and later fill the quorum
 */
function asOfQuorum(quorum, cosigned) {
  const times = cosigned.map(({ time }) => time ?? 0n).sort((a, b) => (a < b ? 1 : a > b ? -1 : 0));
  const since = (/** @type {bigint} */ t) => new Set(cosigned.filter(({ time }) => (time ?? 0n) >= t).map(({ key }) => key));
  return times.find((t) => filled(quorum, since(t))) ?? null;
}
