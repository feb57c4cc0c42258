import type { KeyScope } from '../protocol/access.ts';

/** What a caller may do: the key's scopes, in which queues. */
export interface Grant {
  scopes: readonly KeyScope[];
  /** Patterns as of `QUEUE_PATTERN`; null = every queue. */
  queues: readonly string[] | null;
}

/** Whether a key's scopes include `need`; `admin` includes all. */
export function hasScope({ scopes }: Pick<Grant, 'scopes'>, need: KeyScope): boolean {
  return scopes.includes(need) || scopes.includes('admin');
}

/**
 * Whether a key may touch a queue. A pattern is a name, or its beginning and a `*`: matching takes time
 * in proportion to the name, whatever pattern somebody thinks of.
 *
 * @example
 * mayUseQueue({ queues: ['mail-*', 'sms'] }, 'mail-out'); // true
 */
export function mayUseQueue({ queues }: Pick<Grant, 'queues'>, name: string): boolean {
  return queues === null || queues.some((pattern) => matches(pattern, name));
}

function matches(pattern: string, name: string): boolean {
  return pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}
