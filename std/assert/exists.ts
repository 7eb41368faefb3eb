export { assertExists } from "./mod.ts";
