export { unreachable } from "./mod.ts";
