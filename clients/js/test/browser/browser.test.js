// The tests again, in headless Chromium: another engine's WebCrypto, and the example page. Skipped where Chromium is absent.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { accessSync, constants, mkdtempSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { delimiter, extname, join, normalize } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../../../", import.meta.url));
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8" };
const FLAGS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];

function findChromium() {
  for (const directory of (process.env.PATH ?? "").split(delimiter)) {
    for (const name of ["chromium", "chromium-browser", "google-chrome"]) {
      try {
        accessSync(join(directory, name), constants.X_OK);
        return join(directory, name);
      } catch {
        // Not here.
      }
    }
  }
  return undefined;
}

/** Serves the repository on loopback; `done` is given what the page posts. */
async function serve(done) {
  const server = createServer(async (request, answer) => {
    if (request.method === "POST") {
      const parts = [];
      for await (const part of request) parts.push(part);
      answer.end();
      done(JSON.parse(Buffer.concat(parts).toString()));
      return;
    }
    try {
      const path = normalize(decodeURIComponent(new URL(request.url, "http://localhost").pathname));
      const body = await readFile(join(ROOT, path));
      answer.writeHead(200, { "content-type": TYPES[extname(path)] ?? "application/octet-stream" }).end(body);
    } catch {
      answer.writeHead(404).end();
    }
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  return server;
}

const chromium = findChromium();
test("in Chromium", { skip: chromium === undefined && "chromium is absent", timeout: 300_000 }, async (t) => {
  const profile = mkdtempSync(join(tmpdir(), "glasslog-chromium-"));
  let server;
  let browser;
  try {
    const results = await new Promise((done, failed) => {
      serve(done).then((listening) => {
        server = listening;
        const page = `http://127.0.0.1:${server.address().port}/clients/js/test/browser/index.html`;
        browser = spawn(chromium, [...FLAGS, `--user-data-dir=${profile}`, page], { stdio: "ignore", detached: true });
        browser.on("error", failed);
        browser.on("exit", (code) => failed(new Error(`chromium ended with ${code} before the page was done`)));
      }, failed);
    });
    for (const [name, error, skipped] of results) await t.test(name, { skip: skipped }, () => assert.equal(error, null));
    assert.ok(results.length > 40, `${results.length} tests ran`);
  } finally {
    if (browser?.pid !== undefined) process.kill(-browser.pid, "SIGKILL");
    server?.closeAllConnections();
    server?.close();
    rmSync(profile, { recursive: true, force: true, maxRetries: 10 });
  }
});
