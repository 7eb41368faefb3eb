export * from "./message.ts";
export * from "./timer.ts";
export * from "./tasklet.ts";
