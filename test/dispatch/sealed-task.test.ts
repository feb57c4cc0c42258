import { createSecretKey, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeSigningKey } from '../../src/api/signing-key.ts';
import { openTask, sealNextStep } from '../../src/dispatch/sealed-task.ts';
import {
  ContentError,
  type DataKey,
  openBody,
  openHeaders,
  type SealedContent,
  sealContent,
} from '../../src/store/content-seal.ts';
import { ensureSigningKey } from '../../src/store/signing-key.ts';
import { makeDataKey, setEncryption } from '../../src/store/data-key.ts';
import { createKeyring } from '../../src/store/keyring.ts';
import { runTask } from '../../src/store/task-run.ts';
import { createVault } from '../../src/store/vault.ts';
import { continueWith, retryIn, roomsOf, settlementOf } from '../store/lease-fixture.ts';
import { claimedTask } from '../support/claimed-task.ts';
import { type Bench, silentLog, startBench } from '../support/dispatcher.ts';
import { startTarget, type Target } from '../support/target.ts';
import { until } from '../support/until.ts';

const KEY: DataKey = { id: 7, project: 'default', secret: createSecretKey(randomBytes(32)) };
const CONTENT = {
  headers: { 'X-Secret': 'geheim', AUTHORIZATION: 'Bearer own' },
  body: Buffer.from('the payload'),
};

/** As a claim brings it. */
function sealedTask({ body, ...seal }: SealedContent = sealContent(KEY, 1, CONTENT)) {
  return claimedTask({ headers: {}, body, seal });
}

describe('openTask()', () => {
  test('gives headers and body as they are to be sent', () => {
    expect(openTask(KEY, sealedTask())).toEqual({ ...sealedTask(), ...CONTENT, seal: null });
  });

  test('refuses what was sealed for another queue', () => {
    const foreign = sealedTask(sealContent(KEY, 2, CONTENT));
    expect(() => openTask(KEY, foreign)).toThrow(ContentError);
  });
});

describe('sealNextStep()', () => {
  const task = openTask(KEY, sealedTask());
  const next = (dropAuthorization: boolean) => {
    const decision = continueWith('next payload', { dropAuthorization });
    return sealNextStep(KEY, task, settlementOf(task, decision)).decision;
  };

  test('seals the payload, and leaves the headers that lie there', () => {
    const decision = next(false);
    if (decision.kind !== 'continue') throw new Error(decision.kind);
    expect(`${openBody(KEY, 1, decision.payload)}`).toBe('next payload');
    expect(decision.sealedHeaders).toBeUndefined();
  });

  test('seals the headers anew where Authorization is dropped, whatever its case', () => {
    const decision = next(true);
    if (decision.kind !== 'continue') throw new Error(decision.kind);
    expect(decision.dropAuthorization).toBe(false);
    const seal = { dataKey: 7, headers: decision.sealedHeaders! };
    expect(openHeaders(KEY, 1, seal)).toEqual({ 'X-Secret': 'geheim' });
  });

  test('leaves every other decision alone', () => {
    const settlement = settlementOf(task, retryIn(1));
    expect(sealNextStep(KEY, task, settlement)).toBe(settlement);
  });
});

describe('a dispatcher without the master key', () => {
  const vault = createVault([randomBytes(32)]);
  const logged: object[] = [];
  let bench: Bench;
  let target: Target;

  beforeAll(async () => {
    target = await startTarget();
    bench = await startBench({ log: { ...silentLog, error: (fields) => logged.push(fields) } });
  });
  afterAll(async () => {
    await bench.close();
    await target.close();
  });

  test('puts sealed tasks off unattempted, and calls the others; one that has it calls them', async () => {
    const { database } = bench;
    const envelope = makeDataKey(vault, 'default');
    const project = await database.run((sql) => setEncryption(sql, 'default', envelope));
    const keyring = createKeyring(database, vault);
    const dataKey = await keyring.get('default', project!.dataKey!);
    const sealed = sealContent(dataKey, 1, CONTENT);
    const [id] = await bench.enqueue({ url: target.url, ...CONTENT, sealed }, { url: target.url });
    await target.arrived(1);
    await untilPutOff(id!);
    const error = expect.objectContaining({ message: expect.stringMatching(/ERRAND_MASTER_KEY/) });
    expect(logged).toContainEqual({ task: id, error });
    await runNow(id!);
    await untilPutOff(id!);
    expect(target.arrivals).toHaveLength(1);

    await bench.dispatcher.drain(0);
    await bench.startDispatcher({ keyring });
    await runNow(id!);
    const arrival = (await target.arrived(2))[1]!;
    expect(`${arrival.body}`).toBe('the payload');
    expect(arrival.headers).toMatchObject({ 'x-secret': 'geheim', authorization: 'Bearer own' });
  });

  test('puts tasks off whose signing key it can not open', async () => {
    const other = await startBench();
    const wrapped = () => makeSigningKey('ES256', vault);
    await other.database.run((sql) => ensureSigningKey(sql, 'default', wrapped));
    const before = target.arrivals.length;
    const [id] = await other.enqueue({ url: target.url });
    await untilPutOff(id!, other);
    expect(target.arrivals).toHaveLength(before);
    await other.close();
  });

  async function runNow(taskId: string): Promise<void> {
    await bench.database.run((sql) => runTask(sql, { project: 'default', taskId }));
  }

  /** Nothing counts as an attempt. */
  async function untilPutOff(taskId: string, { database } = bench): Promise<void> {
    const rooms = () => database.run((sql) => roomsOf(sql, taskId));
    await until(async () => (await rooms())[0] === 'scheduled');
    const [row] = await database.run(
      (
        sql,
      ) => sql`select attempt, (select count(*)::integer from errand.attempt where task = ${taskId})
        as attempts from errand.scheduled where task = ${taskId}`,
    );
    expect(row).toEqual({ attempt: 0, attempts: 0 });
  }
});
