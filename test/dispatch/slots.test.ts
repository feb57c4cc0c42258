import { beforeEach, describe, expect, test } from 'vitest';
import { createSlots, type SlotQueue } from '../../src/dispatch/slots.ts';

interface Item {
  name: string;
  queue: object;
}

const mail = {};
const images = {};
const item = (name: string, queue = mail): Item => ({ name, queue });

let entered: string[];
let slots: SlotQueue<Item>;

beforeEach(() => {
  entered = [];
  slots = createSlots<Item, object>({
    slots: 3,
    slotsOfQueue: 2,
    queueOf: ({ queue }) => queue,
    onEntered: ({ name }) => void entered.push(name),
  });
});

describe('createSlots()', () => {
  test('gives slots at once while there are some, then in the order of coming', () => {
    const items = [item('a'), item('b', images), item('c'), item('d', images)];
    for (const each of items) slots.enter(each);
    expect(entered).toEqual(['a', 'b', 'c']);
    expect([slots.taken(), slots.waiting()]).toEqual([3, 1]);
    slots.leave(items[0]!);
    expect(entered).toEqual(['a', 'b', 'c', 'd']);
    expect([slots.taken(), slots.waiting()]).toEqual([3, 0]);
  });

  test('gives a queue no more than its own number, and those behind it as its slots are left', () => {
    const items = [item('a'), item('b'), item('c'), item('d')];
    for (const each of items) slots.enter(each);
    expect(entered).toEqual(['a', 'b']);
    // They would not get a slot if there were one, so they do not count as waiting for it.
    expect([slots.taken(), slots.waiting()]).toEqual([2, 0]);
    slots.enter(item('e', images));
    slots.leave(items[0]!);
    slots.leave(items[1]!);
    expect(entered).toEqual(['a', 'b', 'e', 'c', 'd']);
  });

  test('what another queue waits for goes before those behind a queue that has enough', () => {
    const first = item('a');
    for (const each of [first, item('b'), item('c')]) slots.enter(each);
    for (const each of [item('d', images), item('e', images)]) slots.enter(each);
    expect(entered).toEqual(['a', 'b', 'd']);
    slots.leave(first);
    expect(entered).toEqual(['a', 'b', 'd', 'e']);
    expect(slots.waiting()).toBe(1);
  });

  test('clear() forgets all that waits, and what comes later gets the slots', () => {
    const items = [item('a'), item('b'), item('c'), item('d', images), item('e', images)];
    for (const each of items) slots.enter(each);
    slots.clear();
    for (const each of [items[0]!, items[1]!, items[3]!]) slots.leave(each);
    expect(entered).toEqual(['a', 'b', 'd']);
    expect([slots.taken(), slots.waiting()]).toEqual([0, 0]);
    for (const name of ['f', 'g', 'h']) slots.enter(item(name, images));
    expect(entered.slice(3)).toEqual(['f', 'g']);
  });
});
