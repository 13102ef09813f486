// The JSON scanner, canonical JSON, and entries of a conda log by the vectors of conda-entry.md.
import assert from "node:assert/strict";
import test from "node:test";
import { concat, hex, sha256, utf8, uv } from "../src/bytes.js";
import { condaIdentity, parseCondaEntry } from "../src/conda.js";
import { canonicalJson, scanJson } from "../src/json.js";
import { leaf, mth } from "./model.js";
import { bytesOf, refuses, vectors } from "./support.js";

const PAGE = "docs/spec/conda-entry.md";
/** In this page a fill is a byte in hexadecimal. */
const bytes = (block, name) => bytesOf(block, name, (digits) => String.fromCharCode(parseInt(digits, 16)));

test("JSON: what JSON.parse accepts is accepted, what it refuses is refused", async () => {
  const texts = [
    "{}", "[]", " [ ] ", '{"a":{"b":[1,2,{"c":null}]}}', '"\\u00e9\\n\\/"', "-0.5e+10", "1E5", "tru", "nul", "01", "-", "1.", ".5", "1e", "+1", "[1,]", "[,1]", "{,}",
    '{"a"}', '{"a":}', '{"a":1,}', "{a:1}", "{'a':1}", '"\\x"', '"\\u12"', '"a', '"\t"', "[1 2]", "[1]]", "", " ", "\ufeff1", "1 1", "NaN", "Infinity", "[", "{", '{"a":[}', "\u00a01",
    '{"a":1 , "b" : 2}', "\t\r\n1\t", "\v1", '"\u2028"', '"\u007f"', "[[[[]]]]", '{"":""}', '"\\ud83e\\udeb5"',
  ];
  const plain = (value) => (value instanceof Map ? Object.fromEntries([...value].map(([k, v]) => [k, plain(v)]))
    : Array.isArray(value) ? value.map(plain) : value?.text !== undefined ? Number(value.text) : value);
  for (const text of texts) {
    let expected;
    try { expected = JSON.parse(text); } catch { expected = undefined; }
    if (expected === undefined) await refuses(() => scanJson(utf8(text)), /not JSON/, text);
    else assert.deepEqual(plain(scanJson(utf8(text)).value), expected, text);
  }
});

test("JSON: the rules of canonical form, each told, at any depth", () => {
  const broken = (text) => scanJson(utf8(text)).broken.join(" ");
  for (const [text, rules] of [
    ['{"a":1,"b":{"a":1}}', ""], ['{"a":1,"\\u0061":1}', "duplicate"], ['[{"x":[{"a":1,"a":1}]}]', "duplicate"], ['{"":1,"":1}', "duplicate"],
    ['{"__proto__":1,"constructor":1}', ""], ['{"__proto__":1,"__proto__":1}', "duplicate"], ['"\\ud800"', "surrogate"], ['{"\\udc00":1}', "surrogate"],
    ['"\\ud83e\\ud83e\\udeb5"', "surrogate"], ['"\\udeb5\\ud83e"', "surrogate"], ['"\\ud83e\\udeb5"', ""], ["0.5", "float"], ["-0", "float"], ["1e3", "float"],
    ["9007199254740991", ""], ["-9007199254740991", ""], ["9007199254740992", "integer"], ["-9007199254740992", "integer"], [`1${"0".repeat(1000)}`, "integer"],
    [`${"[".repeat(64)}${"]".repeat(64)}`, ""], [`${"[".repeat(65)}${"]".repeat(65)}`, "depth"], [`${'{"a":'.repeat(65)}1${"}".repeat(65)}`, "depth"],
    [`${"[".repeat(64)}{}${"]".repeat(64)}`, "depth"], [`${"[".repeat(100_000)}${"]".repeat(100_000)}`, "depth"],
    ['{"a":"\\ud800","a":[1.5,99999999999999999]}', "surrogate duplicate integer float"],
  ]) assert.equal(broken(text), rules, text.slice(0, 60));
});

test("JSON: canonical form, by the sorting example of RFC 8785 §3.2.3 and by JSON.stringify", () => {
  const names = '{"\\u20ac":"Euro Sign","\\r":"Carriage Return","\\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One","\\ud83d\\ude00":"Emoji: Grinning Face","\\u0080":"Control","\\u00f6":"Latin Small Letter O With Diaeresis"}';
  const order = [...canonicalJson(scanJson(utf8(names)).value).matchAll(/":"([^"]*)"/g)].map(([, value]) => value);
  assert.deepEqual(order, ["Carriage Return", "One", "Control", "Latin Small Letter O With Diaeresis", "Euro Sign", "Emoji: Grinning Face", "Hebrew Letter Dalet With Dagesh"]);
  assert.equal(canonicalJson(scanJson(utf8('{ "b" : [ 1 , true ] , "a" : "\\u0008\\u000a\\u001F\\u0041\\/\\"" }')).value), '{"a":"\\b\\n\\u001fA/\\"","b":[1,true]}');
});

test("conda: records and other entries of the page are accepted, with their leaf hash and identity", async () => {
  for (const section of ["13.1", "13.2", "13.3"]) {
    for (const block of await vectors(PAGE, section)) {
      const [what, entry] = [block.get("shows")[0], bytes(block, "entry")];
      const { type, members } = parseCondaEntry(entry);
      assert.equal(hex(await leaf(entry)), block.get("leaf")[0], what);
      assert.equal(hex(await condaIdentity(entry)), block.get("identity")[0], what);
      if (block.has("preimage")) assert.equal(hex(await sha256(utf8(block.get("preimage")[0]))), block.get("identity")[0], what);
      if (type !== "record") continue;
      const record = bytes(block, "record");
      const { value, broken } = scanJson(record);
      if (section === "13.1") {
        assert.deepEqual(broken, [], what);
        assert.equal(canonicalJson(members.get("meta")), canonicalJson(value), what);
      } else {
        const raw = members.get("meta_raw");
        assert.equal(raw.get("sha256"), hex(await sha256(record)), what);
        assert.equal(raw.get("size").text, `${record.length}`, what);
        if (["surrogate", "duplicate", "integer", "float"].includes(raw.get("reason"))) assert.equal(broken[0], raw.get("reason"), what);
      }
    }
  }
});

test("conda: snapshot digests of the page, with the tree of RFC 6962", async () => {
  for (const block of await vectors(PAGE, "13.4")) {
    const files = (block.get("file") ?? []).map((line) => [utf8(line.slice(0, -65)), line.slice(-64)]);
    files.sort(([a], [b]) => (hex(a) < hex(b) ? -1 : 1));
    const leaves = await Promise.all(files.map(([name, digits]) => leaf(concat(uv(BigInt(name.length)), name, Uint8Array.from(digits.match(/../g), (d) => parseInt(d, 16))))));
    assert.equal(hex(await mth(leaves)), block.get("digest")[0], block.get("shows")[0]);
  }
});

test("conda: what the page refuses is refused, by the rule that it names", async () => {
  for (const block of await vectors(PAGE, "13.6")) {
    const [what, fault] = [block.get("shows")[0], block.get("fault")[0]];
    const refused = bytes(block, "refused");
    await refuses(() => parseCondaEntry(refused), new RegExp(`^${fault.replaceAll(".", "\\.")}$`), what);
    const canonical = block.get("canonical")?.[0];
    if (canonical === undefined) continue;
    parseCondaEntry(utf8(canonical));
    assert.equal(canonicalJson(scanJson(refused).value), canonical, what);
  }
});
