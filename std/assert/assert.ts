export { assert } from "./mod.ts";
