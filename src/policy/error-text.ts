/** The longest error or reason that is kept, in UTF-16 code units. */
export const ERROR_CHARACTERS = 1000;

/**
 * Text that Postgres can hold, at most `maxCharacters` long: without NUL bytes, without half a
 * surrogate pair, and ending in `…` where it was cut.
 */
export function boundText(text: string, maxCharacters = ERROR_CHARACTERS): string {
  const clean = text.replaceAll('\0', '').toWellFormed();
  if (clean.length <= maxCharacters) return clean;
  const cut = clean.slice(0, maxCharacters - 1);
  return `${cut.replace(/[\uD800-\uDBFF]$/, '')}…`;
}

/** The beginning of a body as text for people: what is not UTF-8 becomes U+FFFD. */
export function bodyText(body: Uint8Array): string {
  // Three bytes are the most that one UTF-16 code unit takes, so this much always fills the bound.
  const head = body.subarray(0, 3 * (ERROR_CHARACTERS + 1));
  // With `stream`, a character that our own cut split is left out, not replaced.
  const text = new TextDecoder().decode(head, { stream: head.length < body.length });
  return boundText(text.trim());
}
