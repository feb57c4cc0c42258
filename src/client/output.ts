import type { Answer } from './transport.ts';

/** What the worker answered when the task ended. */
export interface TaskOutput {
  contentType: string | null;
  /** As the worker's Content-Disposition named it. */
  fileName: string | null;
  bytes: Uint8Array<ArrayBuffer>;
  /** The bytes as UTF-8 text. */
  text(): string;
  /** The bytes as JSON. Throws a `SyntaxError` when they are none. */
  json<Value = unknown>(): Value;
}

export function toTaskOutput({ headers, body }: Answer): TaskOutput {
  const text = () => new TextDecoder().decode(body);
  return {
    contentType: headers.get('content-type'),
    fileName: readFileName(headers.get('content-disposition') ?? ''),
    bytes: body,
    text,
    json: () => JSON.parse(text()),
  };
}

/** RFC 6266, section 4.3: `filename*` is preferred over `filename`. */
function readFileName(disposition: string): string | null {
  const extended = /\bfilename\*=utf-8''([^;]+)/i.exec(disposition)?.[1];
  if (extended !== undefined) return decode(extended.trim());
  const [, quoted, bare] = /\bfilename=(?:"((?:[^"\\]|\\.)*)"|([^;\s]+))/i.exec(disposition) ?? [];
  return quoted?.replace(/\\(.)/g, '$1') ?? bare ?? null;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // A name that is badly escaped is shown as it came: it is only a name.
    return text;
  }
}
