#!/usr/bin/env node
// Verifies proof files offline; `--help` says how. src/command.js does it, this reads files and the clock for it.
import { readFileSync } from "node:fs";
import { run } from "../src/command.js";

const { code, out, err } = await run(process.argv.slice(2), (path) => readFileSync(path), Math.floor(Date.now() / 1000));
process.stdout.write(out);
process.stderr.write(err);
process.exitCode = code;
