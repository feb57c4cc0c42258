import type { CreateTask } from '../protocol/resources.ts';

/** A task to enqueue: the API's fields, and `json` as a convenience for the payload. */
export interface NewTask extends CreateTask {
  /**
   * Sent as the payload in the form of JSON, with `contentType` `application/json` unless given.
   * Instead of `payload` and `payloadBase64`.
   */
  json?: unknown;
}

/** The body that the API takes. Throws a `TypeError` when `json` can't be the payload. */
export function toCreateTask({ json, ...task }: NewTask): CreateTask {
  if (json === undefined) return task;
  if (task.payload !== undefined || task.payloadBase64 !== undefined) {
    throw new TypeError(
      'A task takes one of json, payload and payloadBase64, got json and another',
    );
  }
  const payload = JSON.stringify(json);
  if (payload === undefined) {
    throw new TypeError(`json must be a value that JSON can express, got a ${typeof json}`);
  }
  return { contentType: 'application/json', ...task, payload };
}
