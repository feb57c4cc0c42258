import { afterAll, beforeAll, it } from 'vitest';
import { enqueueTasks } from '../../src/store/enqueue.ts';
import { enqueueNamedTasks } from '../../src/store/enqueue-named.ts';
import { newTask } from '../support/new-task.ts';
import { type ApiFixture, createApiFixture } from './api-fixture.ts';
let fixture: ApiFixture;
beforeAll(async () => { fixture = await createApiFixture(); });
afterAll(() => fixture.close());
it('measures', async () => {
  const t = async (name: string, f: () => Promise<unknown>) => {
    const s = performance.now(); await f(); console.log(name, (performance.now() - s).toFixed(1));
  };
  for (let i = 0; i < 3; i++) {
    await t('8x1MB stmt', () => enqueueTasks(fixture.sql, Array.from({ length: 8 }, () => newTask({ body: Buffer.alloc(1e6, 120) }))));
    await t('1x1MB stmt', () => enqueueTasks(fixture.sql, Array.from({ length: 1 }, () => newTask({ body: Buffer.alloc(1e6, 120) }))));
    await t('1000x8KB stmt', () => enqueueTasks(fixture.sql, Array.from({ length: 1000 }, () => newTask({ body: Buffer.alloc(8e3, 120) }))));
    await t('1000x200B stmt', () => enqueueTasks(fixture.sql, Array.from({ length: 1000 }, () => newTask({ body: Buffer.alloc(200, 120) }))));
    await t('1000 named stmt', () => enqueueNamedTasks(fixture.sql, Array.from({ length: 1000 }, (_, j) => newTask({ name: `n-${i}-${j}` }))));
    await t('1000 batch http', () => fixture.call('POST', '/v1/queues/default/tasks/batch', { body: { tasks: Array.from({ length: 1000 }, () => ({ url: 'https://w.example/', payload: '{}' })) } }));
    await t('1000 same name http', () => fixture.call('POST', '/v1/queues/default/tasks/batch', { body: { tasks: Array.from({ length: 1000 }, () => ({ url: 'https://w.example/', name: `same-${i}` })) } }));
    await t('2000 single http', () => Promise.all(Array.from({ length: 2000 }, () => fixture.call('POST', '/v1/queues/default/tasks', { body: { url: 'https://w.example/', payload: '{}' } }))));
    await t('2000 named http', () => Promise.all(Array.from({ length: 2000 }, (_, j) => fixture.call('POST', '/v1/queues/default/tasks', { body: { url: 'https://w.example/', payload: '{}', name: `m-${i}-${j}` } }))));
  }
}, 120000);
