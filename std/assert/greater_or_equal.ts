export { assertGreaterOrEqual } from "./mod.ts";
