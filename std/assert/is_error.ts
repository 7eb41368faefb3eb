export { assertIsError } from "./mod.ts";
