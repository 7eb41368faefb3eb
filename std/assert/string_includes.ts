export { assertStringIncludes } from "./mod.ts";
