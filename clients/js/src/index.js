// What this package is for; the modules hold the rest.
export { Refused } from "./bytes.js";
export { parseCheckpoint } from "./checkpoint.js";
export { condaIdentity, parseCondaEntry } from "./conda.js";
export { parseLookup, verifyLookup, verifyLookupFile } from "./lookup.js";
export { leafHash, verifyConsistency, verifyInclusion } from "./merkle.js";
export { verifyMisbehaviour } from "./misbehaviour.js";
export { parseNote, parseVkey, verifyNote } from "./note.js";
export { parsePolicy, policyOfKey, verifyCheckpoint } from "./policy.js";
export { parseProof, verifyProof } from "./proof.js";
export { parseBundle, parseTile, parseTilePath, tilePath } from "./tiles.js";
export { anchorForm, isDisavowForm, keyOf, ListReader, mapFunction } from "./vindex.js";
