import type { ValidationTargets } from 'hono';
import type { z } from 'zod';
import type { InputError } from '../protocol/problem.ts';

/** A request can be wrong in more places than anyone wants to read about. */
const MAX_ERRORS = 20;
const MAX_RECEIVED_CHARACTERS = 60;

/** Zod's issues in the wire contract's words. `input` is what was parsed. */
export function inputErrors(
  issues: readonly z.core.$ZodIssue[],
  input: unknown,
  target: keyof ValidationTargets,
): InputError[] {
  return issues.flatMap((issue) => errorsOf(issue, input, target)).slice(0, MAX_ERRORS);
}

/** What an issue expected, where its schema does not say: the `message` of every zod issue here. */
export function expectation(issue: z.core.$ZodRawIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return `${/^[aeiou]/.test(issue.expected) ? 'an' : 'a'} ${issue.expected}`;
    case 'invalid_value':
      return issue.values.map((value: unknown) => JSON.stringify(value)).join(' or ');
    case 'too_small':
      return `at least ${issue.minimum}${sizeUnit(issue.origin)}`;
    case 'too_big':
      return `at most ${issue.maximum}${sizeUnit(issue.origin)}`;
    case 'invalid_format':
      return issue.pattern ? `text that matches ${issue.pattern}` : `a valid ${issue.format}`;
    case 'unrecognized_keys':
      return 'no field of this name';
    default:
      return 'another value';
  }
}

/** Fields that carry somebody's data, or a credential: errors end up in logs, and so must not repeat them. */
const CONFIDENTIAL: readonly PropertyKey[] = ['payload', 'payloadBase64', 'headers'];
const USER_INFO = /(\/\/)[^/?#\s]*@/g;

/** Whether what lies at this place of a body is nothing to be repeated. */
export function isConfidential(path: readonly PropertyKey[]): boolean {
  return path.some((key) => CONFIDENTIAL.includes(key));
}

/** What came, short enough for a message; of what is confidential only how much it is. */
export function received(value: unknown, isHidden = false): string {
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (typeof value === 'object' && value !== null) return 'an object';
  if (isHidden && typeof value === 'string') return `text of ${value.length} characters`;
  const text =
    typeof value === 'string' ? JSON.stringify(value.replace(USER_INFO, '$1…@')) : String(value);
  if (text.length <= MAX_RECEIVED_CHARACTERS) return text;
  return `${text.slice(0, MAX_RECEIVED_CHARACTERS)}… (${(value as string).length} characters)`;
}

/** Source: RFC 6901 for a body; `?name` and `header name` for what is not in it. */
export function pointer(
  path: readonly PropertyKey[],
  target: keyof ValidationTargets = 'json',
): string {
  switch (target) {
    case 'query':
      return `?${String(path[0] ?? '')}`;
    case 'header':
      return `header ${String(path[0] ?? '')}`;
    case 'param':
      return `path ${String(path[0] ?? '')}`;
    default:
      return path
        .map((key) => `/${String(key).replaceAll('~', '~0').replaceAll('/', '~1')}`)
        .join('');
  }
}

function errorsOf(
  issue: z.core.$ZodIssue,
  input: unknown,
  target: keyof ValidationTargets,
): InputError[] {
  const isUnknown = issue.code === 'unrecognized_keys';
  const paths = isUnknown ? issue.keys.map((key) => [...issue.path, key]) : [issue.path];
  // A field of another name may be a payload that was misspelt.
  const isHidden = (path: PropertyKey[]) =>
    target === 'json' && (isUnknown || isConfidential(path));
  return paths.map((path) => ({
    pointer: pointer(path, target),
    expected: issue.message,
    received: received(valueAt(input, path), isHidden(path)),
  }));
}

function valueAt(input: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (value, key) => (isObject(value) && Object.hasOwn(value, key) ? value[key] : undefined),
    input,
  );
}

function isObject(value: unknown): value is Record<PropertyKey, unknown> {
  return typeof value === 'object' && value !== null;
}

function sizeUnit(origin: string): string {
  if (origin === 'string') return ' characters';
  if (origin === 'array') return ' items';
  return '';
}
