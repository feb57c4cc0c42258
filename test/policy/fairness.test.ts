import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type RankedQueue,
  type SharingQueue,
  shareSlots,
  shareStrictly,
} from '../../src/policy/fairness.ts';

type Queue = SharingQueue<string>;

const weights = fc.oneof(
  fc.integer({ min: 1, max: 10 }),
  fc.double({ min: 0.01, max: 100, noNaN: true }),
  fc.constantFrom(1e-9, 1e9),
);
const wants = fc.oneof(fc.nat(30), fc.constantFrom(0, 1, 1000, Number.POSITIVE_INFINITY));
const queueLists = fc
  .array(fc.record({ weight: weights, wants }), { maxLength: 20 })
  .map((queues) => queues.map((queue, index) => ({ id: `q${index}`, ...queue })));
const slotCounts = fc.oneof(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 200 }));

describe('shareSlots()', () => {
  // Queues as `weight:wants`, and the slots that each gets.
  test.each([
    ['nothing without queues', 5, '', ''],
    ['nothing without slots', 0, '1:5', '0'],
    ['nothing for a count of slots below 0', -3, '1:5', '0'],
    ['all that is wanted when there is enough', 9, '1:2 5:3', '2 3'],
    ['by weight', 9, '2:9 1:9', '6 3'],
    ['by weight in fractions', 9, '0.4:9 0.2:9', '6 3'],
    ['only to those that want', 9, '2:9 7:0 1:9', '6 0 3'],
    ['what one can not use to the others, by their weights', 9, '7:3 2:9 1:9', '3 4 2'],
    ['whole slots only', 3.9, '1:9.9 1:9', '2 1'],
    ['an endless want no more than there is', 4, '1:Infinity 1:1', '3 1'],
  ])('gives %s', (_, slots, queues, expected) => {
    const listed = [...queues.matchAll(/(\S+):(\S+)/g)].map(([, weight, wants], id) => {
      return { id, weight: Number(weight), wants: Number(wants) };
    });
    expect([...shareSlots(listed, slots, new Map()).values()].join(' ')).toBe(expected);
  });

  test.each([
    [{ weight: 0, wants: 1 }, 'weight of queue q must be a number above 0, got 0'],
    [{ weight: Number.NaN, wants: 1 }, 'weight of queue q must be a number above 0, got NaN'],
    [{ weight: 1, wants: -1 }, 'wants of queue q must be 0 or more, got -1'],
  ])('refuses %j', (queue, message) => {
    expect(() => shareSlots([{ id: 'q', ...queue }], 1, new Map())).toThrow(message);
  });

  test('gives one slot at a time by weight, in turns', () => {
    const queues = [eager('a', 2), eager('b', 1)];
    const credit = new Map<string, number>();
    const turns = Array.from({ length: 9 }, () => winner(shareSlots(queues, 1, credit)));
    expect(turns.join('')).toBe('abaabaaba');
  });

  test('keeps the share of a queue that wants in every other round only', () => {
    const credit = new Map<string, number>();
    let given = 0;
    for (let round = 0; round < 2020; round += 1) {
      const queues = [eager('a', 100), { ...eager('b', 1), wants: round % 2 }];
      given += shareSlots(queues, 1, credit).get('b')!;
    }
    expect(given).toBe(10);
  });

  test('leaves the credit alone of all when there is enough, and of who wants nothing', () => {
    const credit = new Map([['a', 0.5]]);
    const idle = { ...eager('c', 1), wants: 0 };
    shareSlots([{ ...eager('a', 1), wants: 3 }, { ...eager('b', 1), wants: 1 }, idle], 4, credit);
    expect(credit).toEqual(new Map([['a', 0.5]]));
    shareSlots([eager('a', 1), eager('b', 1), idle], 1, credit);
    expect(credit).toEqual(new Map(Object.entries({ a: 0, b: 0.5 })));
  });

  test('gives each at most what it wants, together all that there is and is wanted', () => {
    fc.assert(
      fc.property(queueLists, fc.array(slotCounts, { minLength: 1 }), (queues, rounds) => {
        const credit = new Map<string, number>();
        for (const slots of rounds) expectWhole(queues, slots, shareSlots(queues, slots, credit));
      }),
    );
  });

  test('gives each its fair share or all that it wants, within one slot, in a round without credit', () => {
    fc.assert(
      fc.property(queueLists, slotCounts, (queues, slots) => {
        const given = shareSlots(queues, slots, new Map());
        const level = fairLevel(queues, slots);
        for (const { id, weight, wants } of queues) {
          const share = Math.min(wants, level * weight);
          expect(Math.abs(given.get(id)! - share)).toBeLessThan(1 + 1e-6);
        }
      }),
    );
  });

  test('gives each its weight of the slots in the long run, ±1 %, one slot or many at a time', () => {
    const contenders = fc.array(fc.double({ min: 0.2, max: 10, noNaN: true }), {
      minLength: 2,
      maxLength: 6,
    });
    fc.assert(
      fc.property(
        contenders,
        fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1 }),
        (list, turns) => {
          const queues = list.map((weight, index) => eager(`q${index}`, weight));
          const { given, total } = play(queues, (round) => turns[round % turns.length]!, 5000);
          const weightOfAll = list.reduce((sum, weight) => sum + weight, 0);
          for (const { id, weight } of queues) {
            const share = (total * weight) / weightOfAll;
            expect(Math.abs(given.get(id)! - share)).toBeLessThan(total * 0.001);
            if (share > 500) expect(Math.abs(given.get(id)! / share - 1)).toBeLessThan(0.01);
          }
        },
      ),
      { numRuns: 30 },
    );
  });

  test('starves nobody: no queue falls behind its part by more than 1 + ln n slots', () => {
    fc.assert(
      fc.property(fc.array(weights, { minLength: 2, maxLength: 20 }), (list) => {
        const queues = list.map((weight, index) => eager(`q${index}`, weight));
        const { credit } = play(queues, () => 1, 300);
        const most = Math.max(...credit.values());
        expect(most).toBeLessThanOrEqual(1 + Math.log(list.length));
      }),
    );
  });

  test('keeps the credits small and even, whatever the queues want from round to round', () => {
    const round = fc.record({
      slots: slotCounts,
      wants: fc.array(fc.nat(8), { minLength: 8, maxLength: 8 }),
    });
    const list = fc.array(weights, { minLength: 8, maxLength: 8 });
    fc.assert(
      fc.property(list, fc.array(round, { minLength: 20, maxLength: 200 }), (ofQueue, rounds) => {
        const credit = new Map<string, number>();
        for (const { slots, wants } of rounds) {
          const queues = ofQueue.map((weight, id) => ({ id: `q${id}`, weight, wants: wants[id]! }));
          expectWhole(queues, slots, shareSlots(queues, slots, credit));
        }
        const credits = [...credit.values()];
        expect(Math.max(0, ...credits.map(Math.abs))).toBeLessThan(8);
        expect(credits.reduce((sum, value) => sum + value, 0)).toBeCloseTo(0);
      }),
    );
  });

  test('serves each of 10,000 queues of the same weight once before any twice', () => {
    const queues = Array.from({ length: 10_000 }, (_, id) => eager(`q${id}`, 1));
    const { given } = play(queues, () => 1000, 10);
    expect(new Set(given.values())).toEqual(new Set([1]));
  });
});

describe('shareStrictly()', () => {
  const ranked = queueLists.chain((queues) =>
    fc
      .array(fc.integer({ min: -2, max: 2 }), {
        minLength: queues.length,
        maxLength: queues.length,
      })
      .map((ranks) => queues.map((queue, index) => ({ ...queue, queuePriority: ranks[index]! }))),
  );

  test('gives a lower priority only what the higher ones can not use', () => {
    const queues = [
      { ...eager('low', 100), queuePriority: -1 },
      { id: 'high', weight: 1, wants: 4, queuePriority: 5 },
      { ...eager('middle', 1), queuePriority: 0 },
    ];
    const share = (slots: number) => Object.fromEntries(shareStrictly(queues, slots, new Map()));
    expect(share(3)).toEqual({ high: 3, middle: 0, low: 0 });
    expect(share(9)).toEqual({ high: 4, middle: 5, low: 0 });
  });

  test('fills each priority before the next, whatever the weights and credits', () => {
    fc.assert(
      fc.property(
        ranked,
        fc.array(slotCounts, { minLength: 1, maxLength: 10 }),
        (queues, rounds) => {
          const credit = new Map<string, number>();
          for (const slots of rounds) {
            const given = shareStrictly(queues, slots, credit);
            expectWhole(queues, slots, given);
            for (const rank of [-2, -1, 0, 1, 2]) {
              const upTo = queues.filter(({ queuePriority }) => queuePriority >= rank);
              expect(sumOf(upTo.map(({ id }) => given.get(id)!))).toBe(enough(upTo, slots));
            }
          }
        },
      ),
    );
  });

  test('shares by weight within a priority, also one slot at a time', () => {
    const queues: RankedQueue<string>[] = [
      { ...eager('a', 2), queuePriority: 1 },
      { ...eager('b', 1), queuePriority: 1 },
      { ...eager('c', 9), queuePriority: 0 },
    ];
    const credit = new Map<string, number>();
    const turns = Array.from({ length: 6 }, () => winner(shareStrictly(queues, 1, credit)));
    expect(turns.join('')).toBe('abaaba');
  });
});

function eager(id: string, weight: number): Queue {
  return { id, weight, wants: Number.POSITIVE_INFINITY };
}

function winner(given: Map<string, number>): string | undefined {
  return [...given.keys()].find((id) => given.get(id) === 1);
}

/** Shares round after round, and adds up what each queue got. */
function play(queues: Queue[], slotsOf: (round: number) => number, rounds: number) {
  const credit = new Map<string, number>();
  const given = new Map(queues.map(({ id }) => [id, 0]));
  let total = 0;
  for (let round = 0; round < rounds; round += 1) {
    total += slotsOf(round);
    for (const [id, count] of shareSlots(queues, slotsOf(round), credit)) {
      given.set(id, given.get(id)! + count);
    }
  }
  return { given, total, credit };
}

function expectWhole(queues: Queue[], slots: number, given: Map<string, number>): void {
  for (const { id, wants } of queues) {
    expect(Number.isInteger(given.get(id))).toBe(true);
    expect(given.get(id)).toBeGreaterThanOrEqual(0);
    expect(given.get(id)).toBeLessThanOrEqual(wants);
  }
  expect(given.size).toBe(queues.length);
  expect(sumOf(given.values())).toBe(enough(queues, slots));
}

function enough(queues: Queue[], slots: number): number {
  return Math.min(slots, sumOf(queues.map(({ wants }) => wants)));
}

function sumOf(values: Iterable<number>): number {
  return [...values].reduce((sum, value) => sum + value, 0);
}

/** Slots for a weight of 1 that use up all slots, found by halving: how the fair shares are defined. */
function fairLevel(queues: Queue[], slots: number): number {
  let low = 0;
  let high = 1e13;
  for (let step = 0; step < 200; step += 1) {
    const middle = (low + high) / 2;
    const used = sumOf(queues.map(({ weight, wants }) => Math.min(wants, middle * weight)));
    if (used > slots) high = middle;
    else low = middle;
  }
  return low;
}
