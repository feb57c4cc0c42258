import { FatalTaskError } from './errors.ts';
import type { SchemaIssue, StandardSchema } from './standard-schema.ts';

const MAX_ISSUES = 5;

/** Parses a payload as JSON. What is not JSON now won't be on a retry: throws a `FatalTaskError`. */
export function parseJson(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch (cause) {
    const problem = cause instanceof SyntaxError ? cause.message : 'it is not UTF-8 text';
    throw new FatalTaskError(`The payload must be JSON: ${problem}`, { cause });
  }
}

/**
 * Validates a value, and gives what the schema made of it. Throws a `FatalTaskError` that names each
 * field by its RFC 6901 pointer below `root`, the first five of them.
 */
export async function validate<Output>(
  schema: StandardSchema<Output>,
  value: unknown,
  root = '',
): Promise<Output> {
  const result = await schema['~standard'].validate(value);
  if (result.issues === undefined) return result.value;
  const shown = result.issues.slice(0, MAX_ISSUES).map((issue) => describe(issue, root));
  const more = result.issues.length - shown.length;
  if (more > 0) shown.push(`and ${more} more`);
  throw new FatalTaskError(`The payload is not valid: ${shown.join('; ')}`);
}

function describe(issue: SchemaIssue, root: string): string {
  const keys = (issue.path ?? []).map((part) => (typeof part === 'object' ? part.key : part));
  const pointer = keys.map((key) => `/${escapePointer(String(key))}`).join('');
  return `${root}${pointer}` === '' ? issue.message : `${root}${pointer}: ${issue.message}`;
}

function escapePointer(key: string): string {
  return key.replaceAll('~', '~0').replaceAll('/', '~1');
}
