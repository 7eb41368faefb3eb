export { type ArrayLikeArg, assertArrayIncludes } from "./mod.ts";
