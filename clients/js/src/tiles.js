// Paths and contents of tiles and entry bundles (c2sp.org/tlog-tiles).

import { check } from "./bytes.js";

/** @import { Bytes } from "./bytes.js" */

/** Hashes in a full tile, entries in a full bundle. */
export const TILE_WIDTH = 256;

/**
 * A tile, or an entry bundle where `level` is "entries". `index` is the tile's within its level, `width` 1 to 256.
 * @typedef {{ level: number | "entries", index: bigint, width: number }} Tile
 */

/**
 * @param {Tile} tile
 * @returns {string} its path below the log's prefix, without a leading slash
 */
export function tilePath({ level, index, width }) {
  check(level === "entries" || (Number.isInteger(level) && level >= 0 && level <= 63), "a tile's level is not 0 to 63");
  check(index >= 0n && index < 1n << 56n, "a tile's index is beyond any tree of 64 bits");
  check(Number.isInteger(width) && width >= 1 && width <= TILE_WIDTH, "a tile's width is not 1 to 256");
  const digits = index.toString();
  const groups = digits.padStart(Math.ceil(digits.length / 3) * 3, "0").match(/.../g) ?? [];
  const path = groups.map((group, i) => (i < groups.length - 1 ? `x${group}` : group)).join("/");
  return `tile/${level}/${path}${width < TILE_WIDTH ? `.p/${width}` : ""}`;
}

/**
 * @param {string} path as {@link tilePath} writes it; any other spelling is refused
 * @returns {Tile}
 */
export function parseTilePath(path) {
  const [, level, groups, width] = /^tile\/(entries|[0-9]{1,2})\/((?:x[0-9]{3}\/)*[0-9]{3})(?:\.p\/([0-9]{1,3}))?$/.exec(path) ?? [];
  check(level !== undefined && groups !== undefined, "not the path of a tile");
  const tile = {
    level: level === "entries" ? /** @type {const} */ ("entries") : Number(level),
    index: BigInt(groups.replace(/[x/]/g, "")),
    width: width === undefined ? TILE_WIDTH : Number(width),
  };
  check(tilePath(tile) === path, "not the path of a tile: it has one spelling only");
  return tile;
}

/**
 * @param {Uint8Array} bytes
 * @param {number} width 1 to 256
 * @returns {Bytes[]} the tile's hashes
 */
export function parseTile(bytes, width) {
  check(bytes.length === 32 * width, `a tile of ${width} hashes does not have ${bytes.length} bytes`);
  return Array.from({ length: width }, (_, i) => new Uint8Array(bytes.subarray(32 * i, 32 * (i + 1))));
}

/**
 * @param {Uint8Array} bytes
 * @param {number} width 1 to 256
 * @returns {Bytes[]} the bundle's entries
 */
export function parseBundle(bytes, width) {
  /** @type {Bytes[]} */
  const entries = [];
  let at = 0;
  while (at < bytes.length && entries.length < width) {
    check(at + 2 <= bytes.length, "the bundle ends within a length");
    const end = at + 2 + ((bytes[at] ?? 0) << 8) + (bytes[at + 1] ?? 0);
    check(end <= bytes.length, "the bundle ends within an entry");
    entries.push(new Uint8Array(bytes.subarray(at + 2, end)));
    at = end;
  }
  check(entries.length === width, `the bundle has ${entries.length} entries, not ${width}`);
  check(at === bytes.length, `the bundle has more than ${width} entries`);
  return entries;
}
