// The one type that JSDoc cannot say: it refers to itself.
import type { JsonNumber } from "./json.js";

export type Json = null | boolean | string | JsonNumber | Json[] | Map<string, Json>;
export type JsonObject = Map<string, Json>;
