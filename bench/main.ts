import { type ChildProcess, fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { generateKeyPair, SignJWT } from 'jose';
import pLimit from 'p-limit';
import { Agent, request } from 'undici';
import { createService, freePort } from '../examples/demo/service.ts';
import { createClient, type ErrandClient } from '../src/client/index.ts';

const { values } = parseArgs({ options: { tasks: { type: 'string', default: '10000' } } });
const TASKS = Number(values.tasks);
const ROUNDS = 3;
const IN_FLIGHT = 64;
const PAYLOAD = JSON.stringify({ user: 'x'.repeat(180) });

const folder = await mkdtemp(join(tmpdir(), 'errand-bench-'));
const target = await startTarget();
const service = createService(folder, await freePort());
try {
  await service.start();
  const client = createClient({ url: service.url, key: service.key });
  const seconds = { plain: [] as number[], enqueue: [] as number[], drain: [] as number[] };
  for (let round = 1; round <= ROUNDS; round += 1) {
    console.log(`round ${round} of ${ROUNDS}: ${TASKS} calls each`);
    seconds.plain.push(await timed(plainLoop));
    const queue = await preparedQueue(client, round);
    seconds.enqueue.push(await timed(() => fill(client, queue)));
    seconds.drain.push(await timed(() => drain(client, queue)));
  }
  report(seconds);
} finally {
  await service.stop();
  target.child.disconnect();
  await rm(folder, { recursive: true, force: true });
}

async function plainLoop(): Promise<void> {
  const { privateKey } = await generateKeyPair('ES256');
  const agent = new Agent({ connections: IN_FLIGHT, pipelining: 1 });
  const limit = pLimit(IN_FLIGHT);
  const call = async () => {
    const token = await new SignJWT({
      url: target.url,
      body_sha256: createHash('sha256').update(PAYLOAD).digest('base64url'),
    })
      .setProtectedHeader({ alg: 'ES256', typ: 'JWT', kid: 'bench' })
      .setIssuedAt()
      .setExpirationTime('5m')
      .sign(privateKey);
    const response = await request(target.url, {
      method: 'POST',
      dispatcher: agent,
      body: PAYLOAD,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    });
    await response.body.dump();
  };
  await Promise.all(Array.from({ length: TASKS }, () => limit(call)));
  await agent.close();
}

async function preparedQueue(client: ErrandClient, round: number): Promise<string> {
  const queue = `bench-${round}`;
  await client.queues.put(queue, {
    rateLimits: {
      maxDispatchesPerSecond: 1_000_000,
      maxBurstSize: 1_000_000,
      maxConcurrentDispatches: 10_000,
    },
  });
  await client.queues.pause(queue);
  return queue;
}

async function fill(client: ErrandClient, queue: string): Promise<void> {
  const task = { url: target.url, payload: PAYLOAD, contentType: 'application/json' };
  for (let left = TASKS; left > 0; left -= 1_000) {
    const items = await client.enqueueBatch(
      queue,
      Array.from({ length: Math.min(left, 1_000) }, () => task),
    );
    const refused = items.find(({ status }) => status !== 201);
    if (refused) throw new Error(`A task was refused: ${JSON.stringify(refused)}`);
  }
}

async function drain(client: ErrandClient, queue: string): Promise<void> {
  const before = await arrivals();
  await client.queues.resume(queue);
  while ((await arrivals()) - before < TASKS) await pause(10);
  for (;;) {
    const { stats } = await client.queues.get(queue);
    if (stats.ready + stats.leased + stats.scheduled === 0) break;
    await pause(5);
  }
  const extra = (await arrivals()) - before - TASKS;
  if (extra !== 0) throw new Error(`${extra} calls more than tasks`);
}

async function arrivals(): Promise<number> {
  return Number(await (await fetch(target.url)).text());
}

async function startTarget(): Promise<{ child: ChildProcess; url: string }> {
  const child = fork(new URL('./target.ts', import.meta.url));
  const [port] = await once(child, 'message');
  return { child, url: `http://127.0.0.1:${port}/` };
}

async function timed(work: () => Promise<void>): Promise<number> {
  const startMs = performance.now();
  await work();
  return (performance.now() - startMs) / 1000;
}

function report(seconds: { plain: number[]; enqueue: number[]; drain: number[] }): void {
  const rate = (times: number[]) => TASKS / times.toSorted((a, b) => a - b)[1]!;
  const plain = rate(seconds.plain);
  console.table(
    [
      ['plain loop', plain],
      ['errand drain', rate(seconds.drain)],
      ['errand batch enqueue', rate(seconds.enqueue)],
    ].map(([row, perSecond]) => ({
      row,
      'tasks/s': Math.round(perSecond as number),
      '÷ plain loop': ((perSecond as number) / plain).toFixed(2),
    })),
  );
}
