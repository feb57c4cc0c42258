/** Where a task's URL leads. */
export interface CallTarget {
  /** Without fragment. Shared by all tasks that have it: not to be changed. */
  readonly url: URL;
  /** WHATWG form. */
  readonly href: string;
  readonly origin: string;
  /** Path and query. */
  readonly path: string;
}

/** Most tasks have a URL that another had just now: to take one apart costs as much as its token's claims. */
const REMEMBERED = 500;
const known = new Map<string, CallTarget | null>();

/** Takes a task's URL apart; null where it is none. */
export function callTarget(url: string): CallTarget | null {
  let target = known.get(url);
  if (target === undefined) {
    if (known.size >= REMEMBERED) known.clear();
    target = readTarget(url);
    known.set(url, target);
  }
  return target;
}

function readTarget(text: string): CallTarget | null {
  const url = URL.parse(text);
  if (url === null) return null;
  url.hash = '';
  return { url, href: url.href, origin: url.origin, path: url.pathname + url.search };
}
