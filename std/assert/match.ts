export { assertMatch } from "./mod.ts";
