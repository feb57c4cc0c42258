import { LIMIT } from '../../protocol/limits.ts';

/** Why a URL may not be called, as far as that is known before it is; null when nothing speaks against it. */
export type TargetRefusal = (url: URL) => string | null;

/** What is expected of the URL of a target, null when it is one. */
export function targetUrlError(url: string, refusal: TargetRefusal = () => null): string | null {
  const expected = 'an absolute http or https URL';
  if (url.length > LIMIT.urlCharacters) return `a URL of at most ${LIMIT.urlCharacters} characters`;
  if (!URL.canParse(url)) return expected;
  const parsed = new URL(url);
  const { protocol, username, password } = parsed;
  if (protocol !== 'http:' && protocol !== 'https:') return expected;
  if (username !== '' || password !== '') {
    return 'a URL without user name and password: send an Authorization header instead';
  }
  if (url.includes('#')) return 'a URL without a fragment';
  const reason = refusal(parsed);
  return reason === null ? null : `a URL that may be called (${parsed.hostname}: ${reason})`;
}
