import { describe, expect, it } from 'vitest';
import { type BatchOptions, createBatcher } from '../../src/store/batch.ts';

interface Statement {
  items: string[];
  answer: (results: string[]) => void;
  fail: (error: unknown) => void;
}

/** A batcher whose statements end when the test says so. */
function batcher(options: Partial<BatchOptions<string, string>> = {}) {
  const statements: Statement[] = [];
  const add = createBatcher<string, string>({
    run: (items) =>
      new Promise((answer, fail) => {
        statements.push({ items, answer, fail });
      }),
    maxItems: 3,
    maxInFlight: 1,
    ...options,
  });
  return { add, statements };
}

const sent = (statements: Statement[]) => statements.map(({ items }) => items.join(''));
const turn = () => new Promise((resolve) => setImmediate(resolve));

async function answer(statement: Statement | undefined): Promise<void> {
  statement!.answer(statement!.items.map((item) => item.toUpperCase()));
  await turn();
}

describe('createBatcher()', () => {
  it('sends at once when idle, and what queues up meanwhile together, in order', async () => {
    const { add, statements } = batcher();
    const results = [...'abcdef'].map(add);
    expect(sent(statements)).toEqual(['a']);
    await answer(statements[0]);
    expect(sent(statements)).toEqual(['a', 'bcd']);
    await answer(statements[1]);
    expect(sent(statements)).toEqual(['a', 'bcd', 'ef']);
    await answer(statements[2]);
    expect(await Promise.all(results)).toEqual([...'ABCDEF']);
  });

  it('has no more statements in flight than it may', async () => {
    const { add, statements } = batcher({ maxInFlight: 2 });
    const results = [...'abcdefgh'].map(add);
    expect(sent(statements)).toEqual(['a', 'b']);
    await answer(statements[1]);
    expect(sent(statements)).toEqual(['a', 'b', 'cde']);
    for (const index of [0, 2, 3]) await answer(statements[index]);
    expect(await Promise.all(results)).toEqual([...'ABCDEFGH']);
  });

  it('sends another beside one in flight only when enough wait, or that one is large', async () => {
    const { add, statements } = batcher({
      maxInFlight: 2,
      worthwhile: 3,
      bytesOf: (item) => item.length,
    });
    for (const item of 'abc') void add(item);
    expect(sent(statements)).toEqual(['a']);
    void add('d');
    expect(sent(statements)).toEqual(['a', 'bcd']);
    void add('e');
    await answer(statements[0]);
    expect(sent(statements)).toEqual(['a', 'bcd']);
    await answer(statements[1]);
    expect(sent(statements)).toEqual(['a', 'bcd', 'e']);
    await answer(statements[2]);
    const large = 'x'.repeat(100_000);
    void add(large);
    void add('f');
    void add('g');
    expect(sent(statements).slice(3)).toEqual([large, 'f']);
    await answer(statements[3]);
    expect(sent(statements).slice(4)).toEqual(['f']);
    await answer(statements[4]);
    expect(sent(statements).slice(5)).toEqual(['g']);
  });

  it('bounds the bytes of a statement, but sends an item that is larger alone', async () => {
    const { add, statements } = batcher({ maxBytes: 4, bytesOf: (item) => item.length });
    const results = ['a', 'bb', 'cc', 'd', 'eeeee', 'f'].map(add);
    for (let index = 0; index < 5; index += 1) await answer(statements[index]);
    expect(sent(statements)).toEqual(['a', 'bbcc', 'd', 'eeeee', 'f']);
    expect(await Promise.all(results)).toHaveLength(6);
  });

  it('fails every item of a batch that failed', async () => {
    const { add, statements } = batcher();
    const results = Promise.allSettled([...'abc'].map(add));
    await answer(statements[0]);
    statements[1]!.fail(new Error('away'));
    expect((await results).map(({ status }) => status)).toEqual([
      'fulfilled',
      'rejected',
      'rejected',
    ]);
    const next = add('d');
    await answer(statements[2]);
    expect(await next).toBe('D');
  });

  it('sends the items of a refused batch one by one, so that a bad one fails alone', async () => {
    const { add, statements } = batcher({ isItemRefused: (error) => error === 'refused' });
    const results = Promise.allSettled([...'abcd'].map(add));
    await answer(statements[0]);
    statements[1]!.fail('refused');
    await turn();
    await answer(statements[2]);
    statements[3]!.fail('refused');
    await turn();
    await answer(statements[4]);
    expect(sent(statements)).toEqual(['a', 'bcd', 'b', 'c', 'd']);
    expect(await results).toMatchObject([
      { value: 'A' },
      { value: 'B' },
      { reason: 'refused' },
      { value: 'D' },
    ]);
  });

  it('does not repeat a batch that failed for another reason', async () => {
    const { add, statements } = batcher({ isItemRefused: (error) => error === 'refused' });
    const results = Promise.allSettled([...'abc'].map(add));
    await answer(statements[0]);
    statements[1]!.fail('away');
    await results;
    expect(sent(statements)).toEqual(['a', 'bc']);
  });

  it('refuses what waits behind a batch whose failure says so, unsent', async () => {
    const refusal = new Error('not sent');
    const refusalOfWaiting = (error: unknown) => (error === 'hung' ? refusal : null);
    const { add, statements } = batcher({ refusalOfWaiting });
    const reasons = [...'abc'].map((item) => add(item).catch((reason: unknown) => reason));
    statements[0]!.fail('hung');
    expect(await Promise.all(reasons)).toEqual(['hung', refusal, refusal]);
    const later = [...'de'].map((item) => add(item).catch((reason: unknown) => reason));
    statements[1]!.fail('lost');
    await turn();
    await answer(statements[2]);
    expect(await Promise.all(later)).toEqual(['lost', 'E']);
    expect(sent(statements)).toEqual(['a', 'd', 'e']);
  });
});
