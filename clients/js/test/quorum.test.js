// Quorums against their definition, tried over every set of witness lines.
import assert from "node:assert/strict";
import test from "node:test";
import { Refused } from "../src/bytes.js";
import { asOf, isSplittable, makeQuorum } from "../src/quorum.js";

const LINES = 6;

/** Numbers from 0 to below n, the same in each run. */
function dice(seed) {
  let state = seed;
  return (n) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
}

/** A tree in which each line stands once, with any thresholds. */
function randomTree(lines, roll) {
  const parts = [...lines];
  while (parts.length > 1) {
    const members = parts.splice(0, 1 + roll(parts.length));
    parts.push({ kind: "group", threshold: 1 + roll(members.length), members });
  }
  return parts[0];
}

function fills(member, set) {
  return member.kind === "witness" ? set.has(member) : member.members.filter((m) => fills(m, set)).length >= member.threshold;
}

/** Whether some of `lines`, at most one of each name, fill the tree. */
function fillsOnce(tree, lines) {
  for (let bits = 0; bits < 1 << lines.length; bits++) {
    const set = lines.filter((_, i) => (bits >> i) & 1);
    if (new Set(set.map((line) => line.key.name)).size === set.length && fills(tree, new Set(set))) return true;
  }
  return false;
}

test("quorums: filled, as of when, and splittable, as the definition says", () => {
  let possible = 0;
  for (let seed = 0; seed < 400; seed++) {
    const roll = dice(seed);
    const lines = Array.from({ length: LINES }, () => ({ kind: "witness", key: { name: `w${roll(LINES)}` }, url: null }));
    const tree = randomTree(lines, roll);
    const make = () => makeQuorum(tree, lines, () => true);
    if (!fillsOnce(tree, lines)) {
      assert.ok((() => { try { make(); } catch (error) { return error instanceof Refused; } return false; })(), `${seed}`);
      continue;
    }
    possible++;
    const quorum = make();
    const times = new Map(lines.map((line) => [line, roll(3) === 0 ? null : BigInt(1 + roll(4))]));
    const since = (t) => lines.filter((line) => times.get(line) !== null && times.get(line) >= t);
    const expected = [4n, 3n, 2n, 1n].find((t) => fillsOnce(tree, since(t))) ?? null;
    assert.equal(asOf(quorum, (line) => times.get(line)), expected, `${seed}`);
    const names = [...new Set(lines.map((line) => line.key.name))];
    let splits = false;
    for (let bits = 0; bits < 1 << names.length; bits++) {
      const [left, right] = [1, 0].map((side) => lines.filter((line) => ((bits >> names.indexOf(line.key.name)) & 1) === side));
      splits ||= fillsOnce(tree, left) && fillsOnce(tree, right);
    }
    assert.equal(isSplittable(quorum), splits, `${seed}`);
  }
  assert.ok(possible > 100, `${possible}`);
});
