import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createQueueCache } from '../../src/api/queue-cache.ts';
import { patchQueue, putQueue } from '../../src/store/queue-change.ts';
import { type ApiFixture, createApiFixture } from './api-fixture.ts';

let fixture: ApiFixture;

beforeAll(async () => {
  fixture = await createApiFixture();
});
afterAll(() => fixture.close());

describe('createQueueCache()', () => {
  it('sees a change of another process within a second, and our own at once', async () => {
    const { sql } = fixture;
    let nowMs = 0;
    const cache = createQueueCache(fixture.database, () => nowMs);
    const audienceNow = async () => (await cache.get('default', 'cached'))?.settings.audience;
    const change = (audience: string) =>
      patchQueue(sql, { project: 'default', name: 'cached', settings: { audience } });

    await putQueue(sql, { project: 'default', name: 'cached', settings: { audience: 'one' } });
    expect(await audienceNow()).toBe('one');
    await change('two');
    nowMs = 999;
    expect(await audienceNow()).toBe('one');
    nowMs = 1000;
    expect(await audienceNow()).toBe('two');
    await change('three');
    cache.forget('default', 'cached');
    expect(await audienceNow()).toBe('three');
  });

  it('keeps the projects apart', async () => {
    const { project } = await fixture.createTenant();
    const cache = createQueueCache(fixture.database);
    expect(await cache.get('default', 'default')).not.toBeNull();
    expect(await cache.get(project, 'default')).toBeNull();
  });
});
