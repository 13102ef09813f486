// A strict JSON scanner (RFC 8259) that says what parsers disagree about, and canonical JSON (RFC 8785) without floats.

import { check, fromUtf8, Refused } from "./bytes.js";

/** @import { Json, JsonObject } from "./types.d.ts" */

/** A number by its spelling: what it is worth depends on who reads it. */
export class JsonNumber {
  /** @param {string} text */
  constructor(text) {
    this.text = text;
  }
}

/** @typedef {"depth" | "surrogate" | "duplicate" | "integer" | "float"} Rule */

/** @type {Rule[]} in the order in which a broken one is told */
const RULES = ["depth", "surrogate", "duplicate", "integer", "float"];
const MAX_DEPTH = 64;
const MAX_SAFE = 9_007_199_254_740_991n;
const ESCAPES = new Map(Object.entries({ '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" }));

/**
 * @param {Uint8Array} bytes one JSON value in UTF-8, without byte order mark
 * @returns {{ value: Json, broken: Rule[] }} the value, and the rules of canonical form that it breaks. Of a name that stands twice the last
 *   value is kept: whoever uses `value` looks at `broken` first.
 */
export function scanJson(bytes) {
  return new Scanner(fromUtf8(bytes, "the JSON")).scan();
}

class Scanner {
  #at = 0;
  /** @type {Set<Rule>} */
  #broken = new Set();
  /** Open arrays and objects, the name of the member that is being read with each object.
   * @type {({ array: Json[] } | { object: JsonObject, name: string })[]} */
  #open = [];

  /** @param {string} text */
  constructor(text) {
    this.text = text;
  }

  // A loop and not a recursion: hostile nesting must not overflow the stack.
  scan() {
    for (;;) {
      let value = this.#begin();
      while (value !== undefined) {
        const parent = this.#open.at(-1);
        if (parent === undefined) {
          this.#token(/[ \t\n\r]*/y);
          if (this.#at !== this.text.length) this.#fail();
          return { value, broken: RULES.filter((rule) => this.#broken.has(rule)) };
        }
        value = this.#add(parent, value);
      }
    }
  }

  /** @returns {Json | undefined} a value that is whole, or nothing where a non-empty array or object was begun */
  #begin() {
    const token = this.#token(/[ \t\n\r]*([[{"]|true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)/y);
    switch (token) {
      case "true": return true;
      case "false": return false;
      case "null": return null;
      case '"': return this.#string();
      case "[":
      case "{": return this.#enter(token);
      default: return this.#number(token);
    }
  }

  /** @param {string} token */
  #enter(token) {
    if (this.#open.length >= MAX_DEPTH) this.#broken.add("depth");
    const closed = this.#peek(token === "[" ? /[ \t\n\r]*\]/y : /[ \t\n\r]*\}/y);
    if (closed) return token === "[" ? [] : new Map();
    this.#open.push(token === "[" ? { array: [] } : { object: new Map(), name: this.#name() });
    return undefined;
  }

  /**
   * @param {{ array: Json[] } | { object: JsonObject, name: string }} parent
   * @param {Json} value
   * @returns {Json | undefined} the parent if it ends here
   */
  #add(parent, value) {
    if ("array" in parent) {
      parent.array.push(value);
      if (this.#token(/[ \t\n\r]*([,\]])/y) === ",") return undefined;
      this.#open.pop();
      return parent.array;
    }
    if (parent.object.has(parent.name)) this.#broken.add("duplicate");
    parent.object.set(parent.name, value);
    if (this.#token(/[ \t\n\r]*([,}])/y) === ",") {
      parent.name = this.#name();
      return undefined;
    }
    this.#open.pop();
    return parent.object;
  }

  #name() {
    this.#token(/[ \t\n\r]*(")/y);
    const name = this.#string();
    this.#token(/[ \t\n\r]*(:)/y);
    return name;
  }

  #string() {
    let string = "";
    for (;;) {
      string += this.#token(/([^"\\\0-\x1f]*)/y);
      if (this.#peek(/"/y)) break;
      const escape = this.#token(/\\(["\\/bfnrt]|u[0-9a-fA-F]{4})/y);
      string += ESCAPES.get(escape) ?? String.fromCharCode(parseInt(escape.slice(1), 16));
    }
    // With the u flag a surrogate matches only where its other half is not next to it.
    if (/\p{Surrogate}/u.test(string)) this.#broken.add("surrogate");
    return string;
  }

  /** @param {string} text */
  #number(text) {
    if (/[.eE]/.test(text) || text === "-0") {
      this.#broken.add("float");
    } else if (text.length > 17 || BigInt(text) > MAX_SAFE || BigInt(text) < -MAX_SAFE) {
      this.#broken.add("integer");
    }
    return new JsonNumber(text);
  }

  /**
   * @param {RegExp} pattern sticky
   * @returns {string} its first group
   */
  #token(pattern) {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.text) ?? this.#fail();
    this.#at = pattern.lastIndex;
    return match[1] ?? "";
  }

  /** @param {RegExp} pattern sticky */
  #peek(pattern) {
    pattern.lastIndex = this.#at;
    if (!pattern.test(this.text)) return false;
    this.#at = pattern.lastIndex;
    return true;
  }

  /** @returns {never} */
  #fail() {
    throw new Refused(`not JSON at character ${this.#at}`);
  }
}

/**
 * @param {Json} value that breaks no rule
 * @returns {string} its canonical form
 */
export function canonicalJson(value) {
  if (value instanceof JsonNumber) return value.text;
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (value instanceof Map) {
    // RFC 8785 sorts by UTF-16 code units, which is how JavaScript compares strings.
    const members = [...value.keys()].sort().map((name) => `${JSON.stringify(name)}:${canonicalJson(value.get(name) ?? null)}`);
    return `{${members.join(",")}}`;
  }
  return JSON.stringify(value);
}

/**
 * @param {Json | undefined} value
 * @returns {bigint | null} the value if it is an integer, by its spelling, from 0 to 2^53 − 1
 */
export function natural(value) {
  if (!(value instanceof JsonNumber) || !/^(0|[1-9][0-9]{0,15})$/.test(value.text)) return null;
  const number = BigInt(value.text);
  return number <= MAX_SAFE ? number : null;
}

/**
 * @param {Uint8Array} bytes
 * @returns {JsonObject} the members of one JSON object in canonical form; refuses anything else with the first rule that is broken
 */
export function canonicalObject(bytes) {
  /** @type {ReturnType<typeof scanJson>} */
  let scanned;
  try {
    scanned = scanJson(bytes);
  } catch {
    throw new Refused("not JSON");
  }
  const { value, broken } = scanned;
  check(broken.length === 0, `no canonical form: ${broken[0]}`);
  check(value instanceof Map, "not an object");
  check(canonicalJson(value) === fromUtf8(bytes, "the JSON"), "not in canonical form");
  return value;
}
