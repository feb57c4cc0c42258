import { describe, expect, test } from 'vitest';
import { requestHeaders } from '../../src/dispatch/request.ts';
import { DEFAULT_QUEUE_SETTINGS } from '../../src/model.ts';
import { claimedTask } from '../support/claimed-task.ts';
import { queueRecord } from '../support/queue-record.ts';

const RETRY = DEFAULT_QUEUE_SETTINGS.retry;

function headersOf(fields: Parameters<typeof claimedTask>[0] = {}, retry = RETRY) {
  return requestHeaders(claimedTask(fields), queueRecord({ name: 'mail' }), retry, 'TOKEN');
}

describe('requestHeaders()', () => {
  test('carries the task, the attempt and the token', () => {
    const headers = headersOf({ name: 'welcome-1', attempt: 3, step: 2, previousStatus: 503 });
    expect(headers).toEqual({
      authorization: 'Bearer TOKEN',
      'content-type': 'application/json',
      'errand-authorization': 'Bearer TOKEN',
      'errand-task-id': '0198c0de000070008000000000000001',
      'errand-task-name': 'welcome-1',
      'errand-queue': 'mail',
      'errand-attempt': '3',
      'errand-max-attempts': '100',
      'errand-schedule-time': '2026-01-02T03:04:05.678Z',
      'errand-step': '2',
      'errand-previous-status': '503',
      traceparent: expect.any(String),
    });
  });

  test('leaves out the name, the previous status and the content type where there is none', () => {
    const names = Object.keys(headersOf({ contentType: null }));
    expect(names).not.toContain('errand-task-name');
    expect(names).not.toContain('errand-previous-status');
    expect(names).not.toContain('content-type');
  });

  test.each(['Authorization', 'authorization', 'AUTHORIZATION'])(
    "keeps the task's own %s, and sends the token in Errand-Authorization all the same",
    (name) => {
      const headers = headersOf({ headers: { [name]: 'Basic abc' } });
      expect(headers[name]).toBe('Basic abc');
      expect(namesLike(headers, 'authorization')).toEqual([name]);
      expect(headers['errand-authorization']).toBe('Bearer TOKEN');
    },
  );

  test.each(['Content-Type', 'content-type', 'CONTENT-TYPE'])("keeps the task's own %s", (name) => {
    const headers = headersOf({ headers: { [name]: 'text/csv' } });
    expect(headers[name]).toBe('text/csv');
    expect(namesLike(headers, 'content-type')).toEqual([name]);
  });

  test('says unlimited for a maxAttempts of −1', () => {
    const headers = headersOf({}, { ...RETRY, maxAttempts: -1 });
    expect(headers['errand-max-attempts']).toBe('unlimited');
  });

  test('gives all attempts of a task one trace, and each a span of its own', () => {
    const [first, second] = [
      headersOf({ attempt: 1, leaseId: '5e8c7c1e-5c1c-4f0e-9b0a-b0a7c0ffee01' }).traceparent!,
      headersOf({ attempt: 2, leaseId: '0d9f1a2b-5c1c-4f0e-9b0a-b0a7c0ffee01' }).traceparent!,
    ];
    const form = /^00-0198c0de000070008000000000000001-[0-9a-f]{16}-01$/;
    expect(first).toMatch(form);
    expect(second).toMatch(form);
    expect(first).not.toBe(second);
  });
});

function namesLike(headers: Record<string, string>, name: string): string[] {
  return Object.keys(headers).filter((key) => key.toLowerCase() === name);
}
