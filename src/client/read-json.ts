import { ErrandApiError } from './errors.ts';
import type { Answer } from './transport.ts';

/**
 * The answer as JSON; an empty one is undefined. Throws an `ErrandApiError` for anything else: then
 * it is not Errand's API that answers at this URL.
 */
export function readJson<Value>({ status, body }: Answer): Value {
  if (body.byteLength === 0) return undefined as Value;
  try {
    return JSON.parse(new TextDecoder().decode(body));
  } catch {
    const detail = 'The answer should be JSON but is not; is url the base URL of the service?';
    throw new ErrandApiError({ status, code: 'http-error', detail });
  }
}
