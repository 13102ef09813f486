// As much of node:test as the tests use.
const tests = [];

export default function test(name, action) {
  tests.push({ name, action });
}

/** Runs what was registered; each result is [name, error or null, skipped]. */
export async function run() {
  const results = [];
  for (const { name, action } of tests) {
    let skipped = false;
    try {
      await action({ skip: () => { skipped = true; } });
      results.push([name, null, skipped]);
    } catch (error) {
      results.push([name, String(error?.stack ?? error), skipped]);
    }
  }
  return results;
}
