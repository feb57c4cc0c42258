/**
 * Asks again until the answer is truthy: for what is only to be seen by looking, such as a row that
 * another process writes. Throws with what was asked when it takes longer than `timeoutMs`.
 */
export async function until<Value>(
  look: () => Promise<Value> | Value,
  { timeoutMs = 10_000, what = 'the expected state' } = {},
): Promise<NonNullable<Value>> {
  const endMs = performance.now() + timeoutMs;
  for (;;) {
    const value = await look();
    if (value) return value;
    if (performance.now() > endMs) throw new Error(`${what} was not seen within ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
