import { LIMIT } from '../../protocol/limits.ts';

/** What is expected of the URL of a target, null when it is one. */
export function targetUrlError(url: string): string | null {
  const expected = 'an absolute http or https URL';
  if (url.length > LIMIT.urlCharacters) return `a URL of at most ${LIMIT.urlCharacters} characters`;
  if (!URL.canParse(url)) return expected;
  const { protocol, username, password } = new URL(url);
  if (protocol !== 'http:' && protocol !== 'https:') return expected;
  if (username !== '' || password !== '') {
    return 'a URL without user name and password: send an Authorization header instead';
  }
  return url.includes('#') ? 'a URL without a fragment' : null;
}
