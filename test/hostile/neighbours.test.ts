import type { Socket } from 'node:net';
import { describe, expect, test } from 'vitest';
import type { Responded } from '../../src/policy/answer.ts';
import { OK, raw, startPoster, target } from '../dispatch/post-fixture.ts';
import { until } from '../support/until.ts';

const ANSWER = `${OK}content-length: 2\r\n\r\nok`;
const POISON = `${OK}content-length: 6\r\nerrand-outcome: failed\r\n\r\npoison`;
const CALLS = 20;

describe('what a target leaves on its socket', () => {
  test.each<[string, (socket: Socket) => void]>([
    ['in the same packet as its answer', (socket) => socket.write(ANSWER + POISON)],
    ['as a body longer than it said', (socket) => socket.write(`${ANSWER}poison`)],
    ['as half an answer', (socket) => socket.write(ANSWER + POISON.slice(0, -3))],
    ['as a thousand answers', (socket) => socket.write(ANSWER + POISON.repeat(1_000))],
    [
      'right after its answer',
      (socket) => socket.write(ANSWER, () => setImmediate(() => socket.write(POISON))),
    ],
    [
      'behind an answer of a bodiless status',
      (socket) => socket.write(`HTTP/1.1 204 No Content\r\n\r\n${POISON}`),
    ],
  ])('%s is never read as the answer to the next call', async (_, answer) => {
    const worker = await raw((socket) => {
      answer(socket);
      socket.on('data', () => answer(socket));
    });
    const post = startPoster({ connections: 1 });
    for (let call = 0; call < CALLS; call += 1) {
      const got = await post(worker.url, { deadlineMs: 2_000 });
      expect(String((got as Responded).body ?? '')).not.toContain('poison');
      expect((got as Responded).outcomeHeader ?? null).toBeNull();
    }
  });
});

describe('the neighbours of a hanging target', () => {
  test('are called while hundreds of calls wait for it', async () => {
    const hanging = await raw(() => {});
    const fair = await target();
    const post = startPoster({ connections: 8 });
    let ended = 0;
    const waiting = Array.from({ length: 300 }, async () => {
      const answer = await post(hanging.url, { deadlineMs: 5_000 });
      ended += 1;
      return answer.outcome;
    });
    await until(() => hanging.open() === 8);
    for (let call = 0; call < 200; call += 1) {
      expect(await post(fair.url)).toMatchObject({ status: 200 });
    }
    expect(ended).toBe(0);
    expect(hanging.accepted()).toBe(8);
    expect(new Set(await Promise.all(waiting))).toEqual(new Set(['timed_out']));
    await until(() => hanging.open() === 0);
  });

  test('a flood from one leaves the others their turn', async () => {
    const flooding = await raw((socket) => {
      socket.write(`${OK}content-length: 99999999999\r\n\r\n`);
      const pour = () => {
        while (!socket.destroyed && socket.write(Buffer.alloc(65_536)));
      };
      socket.on('drain', pour);
      pour();
    });
    const fair = await target();
    const post = startPoster({ connections: 8 });
    let isOver = false;
    const flood = (async () => {
      while (!isOver) await Promise.all(Array.from({ length: 8 }, () => post(flooding.url)));
    })();
    for (let call = 0; call < 100; call += 1) {
      expect(await post(fair.url)).toMatchObject({ status: 200 });
    }
    isOver = true;
    await flood;
  });
});
