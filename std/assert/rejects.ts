export { assertRejects } from "./mod.ts";
