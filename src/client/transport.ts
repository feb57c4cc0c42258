import { HEADER } from '../protocol/headers.ts';
import { ErrandApiError, ErrandConnectionError, ErrandTimeoutError, toApiError } from './errors.ts';
import { pause } from './pause.ts';

/** Where the service is, who asks, and how patiently. */
export interface ClientOptions {
  /** The service's base URL, such as `http://127.0.0.1:8484`. */
  url: string;
  /** The admin key, or a project's API key (`errand_<id>_<secret>`). */
  key: string;
  /** Selects the project; for the admin key only. Default: the service's `default`. */
  project?: string;
  /** Default: the platform's own. */
  fetch?: typeof globalThis.fetch;
  /** How long one try may take, the answer's body included; a number > 0. Default 10,000. */
  timeoutMs?: number;
  /**
   * How often a request is repeated while the service is away (no answer, 429, 502, 503, 504); an
   * integer from 0. Only what is safe to repeat is: reads, and enqueues, which carry an Idempotency-Key. The delays double from 100 ms, with jitter. Default 3.
   */
  retries?: number;
}

/** One request of the API. */
export interface Call {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Below the base URL, from `/v1` on, its parts already escaped. */
  path: string;
  /** What is undefined is left out. */
  query?: Record<string, string | number | undefined>;
  /** Sent as JSON. */
  body?: unknown;
  idempotencyKey?: string;
  /** True when a second arrival changes nothing. */
  isRepeatable: boolean;
}

/** An answer with status 2xx, read whole. */
export interface Answer {
  status: number;
  headers: Headers;
  body: Uint8Array<ArrayBuffer>;
}

/** Throws one of the client's errors for everything but a 2xx. */
export type Send = (call: Call) => Promise<Answer>;

/** Statuses that say "not now" rather than "no". */
const PASSING = [429, 502, 503, 504];
const FIRST_DELAY_MS = 100;
const MOST_DELAY_MS = 2_000;
const MOST_RETRY_AFTER_SECONDS = 10;

/** Checks the options, and makes the one function that every call goes through. */
export function createTransport(options: ClientOptions): Send {
  const { timeoutMs = 10_000, retries = 3 } = options;
  if (!(timeoutMs > 0)) throw new TypeError(`timeoutMs must be a number > 0, got ${timeoutMs}`);
  if (!Number.isSafeInteger(retries) || retries < 0) {
    throw new TypeError(`retries must be an integer of at least 0, got ${retries}`);
  }
  const base = baseUrl(options.url);
  const headers = standingHeaders(options);
  // Called as a plain function, for browsers refuse a fetch with another `this`.
  const fetch = options.fetch ?? ((...args) => globalThis.fetch(...args));

  return async (call) => {
    const request = { url: `${base}${call.path}${queryText(call)}`, init: toInit(call, headers) };
    for (let repeats = 0; ; repeats++) {
      try {
        return await tryOnce(fetch, request, timeoutMs);
      } catch (error) {
        if (!call.isRepeatable || repeats >= retries || !isPassing(error)) throw error;
        await pause(delayMs(repeats, error));
      }
    }
  };
}

function baseUrl(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  if (parsed === null || !/^https?:$/.test(parsed.protocol) || /[?#]/.test(url)) {
    throw new TypeError(
      `url must be an http(s) URL without query or fragment, got ${JSON.stringify(url)}`,
    );
  }
  return url.replace(/\/+$/, '');
}

function standingHeaders({ key, project }: ClientOptions): Record<string, string> {
  if (typeof key !== 'string' || key === '') {
    throw new TypeError('key must be the admin key or an API key, got nothing');
  }
  return {
    accept: 'application/json',
    authorization: `Bearer ${key}`,
    ...(project === undefined ? {} : { [HEADER.project]: project }),
  };
}

function queryText({ query = {} }: Call): string {
  const text = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) text.append(name, String(value));
  }
  return text.size === 0 ? '' : `?${text}`;
}

function toInit({ method, body, idempotencyKey }: Call, standing: Record<string, string>) {
  const headers: Record<string, string> = { ...standing };
  if (idempotencyKey !== undefined) headers[HEADER.idempotencyKey] = idempotencyKey;
  if (body === undefined) return { method, headers };
  headers['content-type'] = 'application/json';
  return { method, headers, body: JSON.stringify(body) };
}

async function tryOnce(
  fetch: typeof globalThis.fetch,
  { url, init }: { url: string; init: RequestInit },
  timeoutMs: number,
): Promise<Answer> {
  const aborter = new AbortController();
  const timer = setTimeout(() => aborter.abort(), timeoutMs);
  try {
    const response = await fetch(url, { ...init, signal: aborter.signal });
    const body = new Uint8Array(await response.arrayBuffer());
    const { status, headers } = response;
    if (response.ok) return { status, headers, body };
    throw toApiError(status, headers, new TextDecoder().decode(body));
  } catch (error) {
    if (error instanceof ErrandApiError) throw error;
    const what = `${init.method} ${url}`;
    if (aborter.signal.aborted) {
      throw new ErrandTimeoutError(`${what} had no answer within ${timeoutMs} ms`);
    }
    throw new ErrandConnectionError(`${what} could not be sent, or its answer was cut`, {
      cause: error,
    });
  } finally {
    clearTimeout(timer);
  }
}

/** An error without an answer passes too: it is not known whether the request arrived. */
function isPassing(error: unknown): boolean {
  return !(error instanceof ErrandApiError) || PASSING.includes(error.status);
}

/** Half of it is chance, so that clients of a service that comes back don't come all at once. */
function delayMs(repeats: number, error: unknown): number {
  const doubled = Math.min(FIRST_DELAY_MS * 2 ** repeats, MOST_DELAY_MS);
  const asked = error instanceof ErrandApiError ? (error.retryAfterSeconds ?? 0) : 0;
  const least = Math.min(asked, MOST_RETRY_AFTER_SECONDS) * 1_000;
  return Math.max(least, doubled / 2) + (Math.random() * doubled) / 2;
}
