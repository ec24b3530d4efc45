/** For our own mistakes, never the world's: one idea per assert, the value in the message. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`);
}
