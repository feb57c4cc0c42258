import { afterAll, beforeAll, describe, expect, expectTypeOf, test } from 'vitest';
import { z } from 'zod';
import type { Batch, TaskHandler, WorkerOptions } from '../../src/handler/index.ts';
import { iterativeTask } from '../../src/handler/index.ts';
import type { Continuation } from '../../src/protocol/resources.ts';
import type { Signer } from '../support/sign.ts';
import { createSigner, WORKER_URL } from '../support/sign.ts';

let signer: Signer;
let options: WorkerOptions;
beforeAll(async () => {
  signer = await createSigner();
  options = { issuer: signer.issuer, publicUrl: WORKER_URL };
});
afterAll(() => signer.close());

async function step(handler: TaskHandler, body: string, number = 0) {
  const headers = { 'errand-step': String(number) };
  const response = await handler(await signer.request({ body, headers }));
  const outcome = response.headers.get('errand-outcome');
  return { response, status: response.status, outcome, text: await response.text() };
}

/** Follows continuations as the service does, up to `maxSteps`. */
async function walk(handler: TaskHandler, body: string, maxSteps = 20) {
  const continuations: Continuation[] = [];
  for (let number = 0; number < maxSteps; number++) {
    const payload = continuations.at(-1)?.payload ?? body;
    const answer = await step(handler, payload, number);
    if (answer.outcome !== 'continue') return { ...answer, continuations };
    continuations.push(JSON.parse(answer.text));
  }
  throw new Error(`The walk did not end in ${maxSteps} steps`);
}

const NUMBERS = [1, 2, 3, 4, 5, 6, 7];

/** Walks over 1 … 7, three a step. */
function numbersTask(worked: number[][], total?: number) {
  return iterativeTask(
    {
      batch: 3,
      fetchBatch: async (after: number | null, limit) => {
        const entities = NUMBERS.filter((n) => n > (after ?? 0)).slice(0, limit);
        return { entities, total, nextCursor: entities.length < limit ? null : entities.at(-1) };
      },
      work: (entities) => {
        expectTypeOf(entities).toEqualTypeOf<number[]>();
        worked.push(entities);
      },
    },
    options,
  );
}

/** A task of one batch, whatever the cursor. */
function batchTask(batch: unknown, onWork = () => {}): TaskHandler {
  return iterativeTask({ batch: 2, fetchBatch: () => batch as never, work: onWork }, options);
}

test.each(['', '{}', '{"cursor":null,"done":0}'])(
  'iterativeTask() walks over everything once, from the payload %j',
  async (payload) => {
    const worked: number[][] = [];
    const end = await walk(numbersTask(worked), payload);
    expect(worked).toEqual([[1, 2, 3], [4, 5, 6], [7]]);
    expect(end.status).toBe(200);
    expect(end.outcome).toBeNull();
    expect(JSON.parse(end.text)).toEqual({ entities: 7, steps: 3 });
    expect(end.response.headers.get('errand-progress')).toBe('100');
  },
);

test('iterativeTask() tells its progress when it knows the total', async () => {
  const { continuations } = await walk(numbersTask([], 7), '');
  expect(continuations.map(({ progress }) => progress)).toEqual([42, 85]);
  const stale = await walk(numbersTask([], 2), '');
  expect(stale.continuations.map(({ progress }) => progress)).toEqual([99, 99]);
  const unknown = await walk(numbersTask([]), '');
  expect(unknown.continuations[0]).toEqual({ payload: '{"cursor":3,"done":3}' });
});

test('iterativeTask() hands on the delay, and the progress that work() told', async () => {
  const handler = iterativeTask(
    {
      batch: 1,
      delaySeconds: 1.5,
      fetchBatch: () => ({ entities: [1], nextCursor: 'b', total: 2 }),
      work: (_entities, context) => context.progress(7),
    },
    options,
  );
  const { text } = await step(handler, '');
  expect(JSON.parse(text)).toMatchObject({ progress: 7, delaySeconds: 1.5 });
});

test('iterativeTask() continues over an empty batch without working on it', async () => {
  let isWorked = false;
  const batch = { entities: [], nextCursor: 'b' };
  const { outcome } = await step(
    batchTask(batch, () => {
      isWorked = true;
    }),
    '',
  );
  expect([outcome, isWorked]).toEqual(['continue', false]);
});

test('iterativeTask() retries a failing batch alone, from its own cursor', async () => {
  const starts: unknown[] = [];
  let failures = 1;
  const handler = iterativeTask(
    {
      batch: 1,
      fetchBatch: (cursor) => {
        starts.push(cursor);
        return { entities: [cursor], nextCursor: cursor === null ? 'b' : null };
      },
      work: ([entity]) => {
        if (entity === 'b' && failures-- > 0) throw new Error('flaky');
      },
    },
    options,
  );
  const { payload } = JSON.parse((await step(handler, '')).text) as Continuation;
  const failed = await step(handler, payload, 1);
  expect([failed.status, failed.outcome, failed.text]).toEqual([500, null, 'flaky']);
  const end = await step(handler, payload, 1);
  expect(JSON.parse(end.text)).toEqual({ entities: 2, steps: 2 });
  expect(starts).toEqual([null, 'b', 'b']);
});

describe('iterativeTask() with schemas', () => {
  const filters: unknown[] = [];
  const handler = () =>
    iterativeTask(
      {
        batch: 1,
        filter: z.object({ before: z.coerce.date() }),
        cursor: z.object({ id: z.int() }),
        fetchBatch: (start, _limit, filter): Batch<number, { id: number }> => {
          expectTypeOf(start).toEqualTypeOf<{ id: number } | null>();
          expectTypeOf(filter).toEqualTypeOf<{ before: Date }>();
          filters.push(filter.before.getTime());
          return { entities: [1], nextCursor: start === null ? { id: 1 } : null };
        },
        work: () => undefined,
      },
      options,
    );

  test('gives each step the filter as it was enqueued, validated anew', async () => {
    const end = await walk(handler(), '{"filter":{"before":"1970-01-01T00:00:01Z"}}');
    expect(JSON.parse(end.text)).toEqual({ entities: 2, steps: 2 });
    expect(filters).toEqual([1000, 1000]);
  });

  test.each([
    ['', '/filter: '],
    ['{"filter":{"before":"soon"}}', '/filter/before: '],
    ['{"filter":{"before":1},"cursor":{"id":"x"}}', '/cursor/id: '],
  ])('fails on the payload %j and names %s', async (payload, pointer) => {
    const { outcome, text } = await step(handler(), payload);
    expect(outcome).toBe('failed');
    expect(text).toContain(`not valid: ${pointer}`);
  });
});

describe('iterativeTask() fails the task, and works on nothing, when', () => {
  const circular: Record<string, unknown> = {};
  circular.self = circular;
  test.each([
    ['there are more entities than asked for', { entities: [1, 2, 3] }, 'at most the 2 entities'],
    ['the batch is no batch', [1, 2], 'must return { entities'],
    ['the batch is missing', undefined, 'must return { entities'],
    ['the cursor stays', { entities: [1], nextCursor: 'here' }, 'never end'],
    ['the cursor is NaN', { entities: [1], nextCursor: Number.NaN }, 'got NaN (number)'],
    ['the cursor is a BigInt', { entities: [1], nextCursor: 9n }, 'got 9 (bigint)'],
    ['the cursor is a Date', { entities: [1], nextCursor: new Date(0) }, 'got a Date'],
    ['the cursor is a Map', { entities: [1], nextCursor: { a: new Map() } }, 'JSON value'],
    ['the cursor is circular', { entities: [1], nextCursor: circular }, 'JSON value'],
    ['the cursor is huge', { entities: [1], nextCursor: 'x'.repeat(1 << 20) }, '1048576'],
    ['the answer would be huge', { entities: [1], nextCursor: '"'.repeat(500_000) }, 'answer'],
  ])('%s', async (_what, batch, message) => {
    let isWorked = false;
    const handler = batchTask(batch, () => {
      isWorked = true;
    });
    const { status, outcome, text } = await step(handler, '{"cursor":"here"}');
    expect([status, outcome, isWorked]).toEqual([200, 'failed', false]);
    expect(text).toContain(message);
  });

  test.each([
    ['[]', 'must be empty or a JSON object'],
    ['"all"', 'must be empty or a JSON object'],
    ['nonsense', 'must be JSON'],
    ['{"done":-1}', '/done'],
    ['{"userId":7}', '"userId"; put what selects entities into filter'],
  ])('the payload is %s', async (payload, message) => {
    const { outcome, text } = await step(batchTask({ entities: [] }), payload);
    expect(outcome).toBe('failed');
    expect(text).toContain(message);
  });
});

test('iterativeTask() takes a cursor that is plain JSON, however nested', async () => {
  const nextCursor = { at: '2026-01-01', ids: [1, null, true], more: { x: 0.5 } };
  const { text } = await step(batchTask({ entities: [1], nextCursor }), '');
  expect(JSON.parse((JSON.parse(text) as Continuation).payload).cursor).toEqual(nextCursor);
});
