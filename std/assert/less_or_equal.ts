export { assertLessOrEqual } from "./mod.ts";
