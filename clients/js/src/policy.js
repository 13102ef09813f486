// Policies (c2sp.org/tlog-policy and docs/spec/policy.md), and what makes a checkpoint believed: the log's signature, the quorum, and the time as of
// which it holds.

import { check, equal, fromUtf8 } from "./bytes.js";
import { emptyRoot } from "./merkle.js";
import { parseVkey, TYPE, verifyNote } from "./note.js";
import { asOf, isSplittable, makeQuorum } from "./quorum.js";

/** @import { Bytes } from "./bytes.js" */
/** @import { ParsedCheckpoint } from "./checkpoint.js" */
/** @import { Vkey } from "./note.js" */
/** @import { Member, Quorum, Witness } from "./quorum.js" */

/**
 * `quorum` null is `quorum none`. `splittable`: two disjoint sets of witnesses satisfy the quorum, so that honest witnesses could cosign
 * two views of the log; not so for `quorum none`, which promises nothing. A cosigning key that is named as a log of the policy is that
 * log's own: under `quorum none` its times say how old a checkpoint is, and it never counts as a witness.
 * @typedef {{ logs: Vkey[], witnesses: Witness[], quorum: Quorum | null, splittable: boolean }} Policy
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
/** The most logs, and the most witnesses, and the most groups in one policy. */
const MAX_LINES_OF_A_KIND = 256;
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
  const policy = { logs: [log], witnesses: [], quorum: null, splittable: false };
  if (cosigner === undefined) return policy;
  const own = await parseVkey(cosigner);
  check(own.type !== TYPE.ed25519 && own.name === log.name, "a log's own cosigner makes cosignatures under the log's name");
  check(!equal(own.publicKey, log.publicKey), "a log's own cosigner has a key of its own");
  // Like a witness line: its signature alone is not the log's.
  return { ...policy, witnesses: [{ kind: "witness", key: own, url: null }] };
}

class PolicyReader {
  /** @type {Vkey[]} */
  logs = [];
  /** @type {Map<string, Member>} */
  names = new Map();
  /** @type {Set<string>} */
  used = new Set();
  groups = 0;
  /** @type {Member | null | undefined} */
  quorum = undefined;

  /**
   * @param {string[]} items
   * @param {string} where
   */
  async line([keyword = "", ...items], where) {
    if (keyword === "log") {
      check(items.length === 1 || items.length === 2, `${where}: log is followed by a vkey and at most a URL`);
      this.logs.push(await this.vkey(items[0] ?? "", [TYPE.ed25519, TYPE.cosignature, TYPE.mlDsa44], where));
      check(this.logs.length <= MAX_LINES_OF_A_KIND, `${where}: more than ${MAX_LINES_OF_A_KIND} logs`);
    } else if (keyword === "witness") {
      check(items.length === 2 || items.length === 3, `${where}: witness is followed by a name, a vkey and at most a URL`);
      const key = await this.vkey(items[1] ?? "", [TYPE.cosignature, TYPE.mlDsa44], where);
      this.define(items[0] ?? "", { kind: "witness", key, url: items[2] ?? null }, where);
      check(witnessesOf(this.names).length <= MAX_LINES_OF_A_KIND, `${where}: more than ${MAX_LINES_OF_A_KIND} witnesses`);
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
    check(++this.groups <= MAX_LINES_OF_A_KIND, `${where}: more than ${MAX_LINES_OF_A_KIND} groups`);
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
    const quorum = this.quorum && makeQuorum(this.quorum, witnesses, (key) => !isOwn(key, this.logs));
    return { logs: this.logs, witnesses, quorum, splittable: quorum !== null && isSplittable(quorum) };
  }
}

/**
 * @param {Vkey} key
 * @param {Vkey[]} logs
 */
function isOwn(key, logs) {
  return logs.some((log) => log.name === key.name);
}

/** @param {Map<string, Member>} names */
function witnessesOf(names) {
  return [...names.values()].filter((member) => member.kind === "witness");
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
  check(logs.length > 0, "the origin is not that of a log of the policy");
  // Whoever's key is known must have signed rightly, also where the signature counts for nothing here.
  const cosigners = policy.witnesses.map(({ key }) => key).filter((key) => key.name === origin || !isOwn(key, policy.logs));
  const signed = await verifyNote(note, [...logs, ...cosigners]);
  check(signed.some(({ key, checked }) => checked && logs.includes(key)), "the log's signature is missing, or of a kind that cannot be checked here");

  const latest = BigInt(Math.floor(now)) + CLOCK_SKEW;
  /** @type {Map<Vkey, bigint>} */
  const times = new Map();
  // Of several lines of one key the newest stands.
  for (const { key, time, checked } of signed) if (checked && time !== null && time >= (times.get(key) ?? 0n)) times.set(key, time);
  // The time 0 is none: of type 0x06 it says nothing about the newest tree.
  for (const [key, time] of times) if (time === 0n || time > latest) times.delete(key);
  const own = [...times].flatMap(([key, time]) => (key.name === origin ? [time] : []));
  const ofOthers = (/** @type {Witness} */ { key }) => (isOwn(key, policy.logs) ? null : (times.get(key) ?? null));
  const time = policy.quorum === null ? own.reduce((/** @type {bigint | null} */ a, b) => (a === null || b > a ? b : a), null) : asOf(policy.quorum, ofOthers);
  check(policy.quorum === null || time !== null, "too few witnesses of the policy cosigned this checkpoint");
  if (size === 0n) check(equal(root, await emptyRoot()), "the root of an empty tree is not the SHA-256 of nothing");

  const stale = time !== null && time < BigInt(Math.floor(now)) - BigInt(maxAge);
  return {
    origin, size, root, extensions, asOf: time,
    age: time === null ? "unknown" : stale ? "stale" : "fresh",
    cosigners: [...times].map(([key, at]) => ({ name: key.name, time: at })),
    notChecked: signed.filter(({ checked }) => !checked).map(({ key }) => key.name),
    splittable: policy.splittable,
  };
}
