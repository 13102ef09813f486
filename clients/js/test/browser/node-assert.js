// As much of node:assert/strict as the tests use.
function fail(message) {
  throw new Error(message);
}

function show(value) {
  return JSON.stringify(value, (_, v) => (typeof v === "bigint" ? `${v}n` : v instanceof Uint8Array ? [...v] : v)) ?? String(value);
}

function same(a, b) {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null || Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
  const [left, right] = [Object.keys(a), Object.keys(b)];
  return left.length === right.length && left.every((key) => Object.hasOwn(b, key) && same(a[key], b[key]));
}

export default {
  fail,
  ok: (value, message) => { if (!value) fail(message ?? "not true"); },
  equal: (a, b, message) => { if (!Object.is(a, b)) fail(`${message ?? ""}: ${show(a)} is not ${show(b)}`); },
  notEqual: (a, b, message) => { if (Object.is(a, b)) fail(`${message ?? ""}: both are ${show(a)}`); },
  deepEqual: (a, b, message) => { if (!same(a, b)) fail(`${message ?? ""}: ${show(a)} is not ${show(b)}`); },
  match: (text, pattern, message) => { if (!pattern.test(text)) fail(`${message ?? ""}: ${text} does not match ${pattern}`); },
  async rejects(action, judge, message) {
    try {
      await action();
    } catch (error) {
      judge(error);
      return;
    }
    fail(`${message}: was not refused`);
  },
};
