// Runs the tests in this browser, and uses the example page as a person would; posts the results to the server of browser.test.js.
import assert from "node:assert/strict";
import test, { run } from "node:test";
import { utf8 } from "../../src/bytes.js";
import { mapFunction } from "../../src/vindex.js";
import { ModelLog } from "../model.js";
import { makeSigner } from "../support.js";

await Promise.all(["note", "quorum", "log", "json", "vindex", "lookup", "vectors"].map((name) => import(`../${name}.test.js`)));

/** Drops files on the example page and reads what it says. */
async function dropped(fields, files) {
  const frame = document.body.appendChild(document.createElement("iframe"));
  await new Promise((loaded) => {
    frame.onload = loaded;
    frame.src = "../../example.html";
  });
  const page = frame.contentDocument;
  for (const [id, value] of Object.entries(fields)) page.getElementById(id).value = value;
  const dataTransfer = new DataTransfer();
  for (const [name, bytes] of files) dataTransfer.items.add(new File([bytes], name));
  page.getElementById("drop").dispatchEvent(new DragEvent("drop", { dataTransfer, cancelable: true }));
  const result = page.getElementById("result");
  while (["", "…"].includes(result.textContent)) await new Promise((next) => { new MutationObserver(next).observe(result, { childList: true }); });
  return result.textContent;
}

test("the example page verifies a dropped proof, and refuses one that was changed", async () => {
  const map = mapFunction("json-field:name");
  const signer = await makeSigner("log.example");
  const log = new ModelLog("log.example", signer, map.name, map.keys);
  const entry = utf8('{"name":"serde"}');
  await log.add(entry);
  const anchor = await log.anchor();
  const [key] = await map.keys(entry);
  const [inclusion, lookup] = [await log.proofFile(0), await log.lookupFile(anchor, key)];
  const fields = { vkey: signer.vkey, map: map.name };
  assert.match(await dropped(fields, [["entry.json", entry], ["p.tlog-proof", inclusion]]), /^Verified: the entry is in the log at 0\.\nLog log\.example, 2 entries, time unknown\.$/);
  assert.match(await dropped(fields, [["p.tlog-proof", lookup]]), /^Verified: under [0-9a-f]{64} the log holds 1 entries, the newest at 0\./);
  assert.match(await dropped(fields, [["entry.json", utf8("x")], ["p.tlog-proof", inclusion]]), /^Refused: the inclusion proof does not lead to the root$/);
  assert.match(await dropped({ ...fields, vkey: (await makeSigner("log.example")).vkey }, [["p.tlog-proof", lookup]]), /^Refused: the log's signature is missing/);
  assert.match(await dropped(fields, [["x.txt", entry]]), /^Refused: no \.tlog-proof file was dropped$/);
});

await fetch("/results", { method: "POST", body: JSON.stringify(await run()) });
