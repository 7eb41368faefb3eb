/**
 * `@std/assert` as npm has it, so that a clone needs no other registry.
 *
 * @module
 */
// @ts-types="./mod.d.ts"
export * from "npm:deno-std@1.4.0/assert/mod.js";
