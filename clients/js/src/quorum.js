// How many witnesses cosigned, each counted once (docs/spec/policy.md §3).

import { check } from "./bytes.js";

/** @import { Vkey } from "./note.js" */

/** A witness line of a policy. @typedef {{ kind: "witness", key: Vkey, url: string | null }} Witness */
/** @typedef {{ kind: "group", threshold: number, members: Member[] }} Group */
/** @typedef {Witness | Group} Member */
/** The lines of one witness that are members of one group: any of them will do. @typedef {{ kind: "leaf", lines: Witness[] }} Leaf */
/** @typedef {Leaf | { kind: "group", threshold: number, members: Node[] }} Node */
/**
 * `places` holds the leaves of each witness: it counts at one of them at a time.
 * @typedef {{ root: Node, places: Leaf[][] }} Quorum
 */
/** The newest time of what a line's key cosigned, null if nothing that counts. @typedef {(line: Witness) => bigint | null} Times */

/** The most ways in which a place of each witness can be chosen. */
const MAX_WAYS = 4096;

/**
 * Refuses a quorum that all witnesses together cannot fill, or that has too many ways to fill it.
 * @param {Member} member what the quorum line names
 * @param {Witness[]} witnesses every line
 * @param {(key: Vkey) => boolean} mayCount
 * @returns {Quorum}
 */
export function makeQuorum(member, witnesses, mayCount) {
  const unitOf = units(witnesses);
  /** @type {Map<Witness | undefined, Leaf[]>} */
  const places = new Map();
  /** @param {Member[]} members @returns {Node[]} */
  const nodes = (members) => {
    /** @type {Map<Witness | undefined, Leaf>} */
    const here = new Map();
    /** @type {Node[]} */
    const all = [];
    for (const m of members) {
      if (m.kind === "group") {
        all.push({ kind: "group", threshold: m.threshold, members: nodes(m.members) });
        continue;
      }
      const unit = unitOf.get(m);
      const known = here.get(unit);
      if (known) {
        known.lines.push(m);
        continue;
      }
      /** @type {Leaf} */
      const leaf = { kind: "leaf", lines: [m] };
      here.set(unit, leaf);
      places.set(unit, [...(places.get(unit) ?? []), leaf]);
      all.push(leaf);
    }
    return all;
  };
  const [root] = nodes([member]);
  check(root, "the quorum names nothing");
  const quorum = { root, places: [...places.values()] };
  check(quorum.places.reduce((ways, leaves) => ways * leaves.length, 1) <= MAX_WAYS, "too many witnesses have keys in several groups");
  check(asOf(quorum, ({ key }) => (mayCount(key) ? 1n : null)) !== null, "all witnesses together cannot fill the quorum");
  return quorum;
}

/**
 * Witness lines are one witness if their key names or their URLs are the same, or by way of others.
 * @param {Witness[]} witnesses
 * @returns {Map<Witness, Witness>} from each line to the line that stands for its witness
 */
function units(witnesses) {
  const unitOf = new Map(witnesses.map((witness) => [witness, witness]));
  const address = (/** @type {Witness} */ { url }) => url?.replace(/\/+$/, "");
  for (const a of witnesses) {
    for (const b of witnesses) {
      const [to, from] = [unitOf.get(a), unitOf.get(b)];
      if (!to || to === from || (a.key.name !== b.key.name && (a.url === null || address(a) !== address(b)))) continue;
      for (const [witness, unit] of unitOf) if (unit === from) unitOf.set(witness, to);
    }
  }
  return unitOf;
}

/**
 * @param {Quorum} quorum
 * @returns {Generator<Set<Leaf>>} every choice of one place for each witness
 */
function* choices({ places }) {
  const ways = places.reduce((product, leaves) => product * leaves.length, 1);
  for (let number = 0; number < ways; number++) {
    let rest = number;
    /** @type {Set<Leaf>} */
    const chosen = new Set();
    for (const leaves of places) {
      const leaf = leaves[rest % leaves.length];
      rest = Math.floor(rest / leaves.length);
      if (leaf) chosen.add(leaf);
    }
    yield chosen;
  }
}

/** @param {(bigint | null)[]} times @returns {bigint[]} newest first */
function sorted(times) {
  return times.filter((time) => time !== null).sort((a, b) => (a < b ? 1 : a > b ? -1 : 0));
}

/**
 * @param {Quorum} quorum
 * @param {Times} times
 * @returns {bigint | null} the largest t such that the cosignatures of time t and later fill the quorum
 */
export function asOf(quorum, times) {
  return sorted([...choices(quorum)].map((chosen) => asOfNode(quorum.root, times, chosen)))[0] ?? null;
}

/**
 * @param {Node} node
 * @param {Times} times
 * @param {Set<Leaf>} chosen
 * @returns {bigint | null} of a group, the threshold-th newest of its members' times
 */
function asOfNode(node, times, chosen) {
  if (node.kind === "leaf") return chosen.has(node) ? (sorted(node.lines.map(times))[0] ?? null) : null;
  return sorted(node.members.map((member) => asOfNode(member, times, chosen)))[node.threshold - 1] ?? null;
}

/**
 * @param {Quorum} quorum
 * @returns {boolean} whether two sets of witnesses without a common member fill it
 */
export function isSplittable(quorum) {
  for (const chosen of choices(quorum)) if (sides(quorum.root, chosen) === 2) return true;
  return false;
}

/**
 * @param {Node} node
 * @param {Set<Leaf>} chosen
 * @returns {number} on how many sides at once it can be filled, when witnesses are dealt out to two: 0, 1 or 2
 */
function sides(node, chosen) {
  if (node.kind === "leaf") return chosen.has(node) ? 1 : 0;
  const found = node.members.map((member) => sides(member, chosen));
  const [both, one] = [2, 1].map((number) => found.filter((n) => n === number).length);
  const lacking = node.threshold - (both ?? 0);
  // Members that serve one side are dealt out, for what each side still lacks.
  if (2 * lacking <= (one ?? 0)) return 2;
  return lacking <= (one ?? 0) ? 1 : 0;
}
