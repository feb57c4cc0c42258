import { importJWK, type JWTPayload, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeSigningKey } from '../../src/api/signing-key.ts';
import { HEADER } from '../../src/protocol/headers.ts';
import { ensureSigningKey, type SigningKey } from '../../src/store/signing-key.ts';
import { claimAll, enqueue, SUCCEED, settle } from '../store/task-fixture.ts';
import { type ApiFixture, createApiFixture, expectProblem } from './api-fixture.ts';

const ISSUER = 'https://errand.example';
let fixture: ApiFixture;
let key: SigningKey;

beforeAll(async () => {
  fixture = await createApiFixture();
  key = await ensureSigningKey(fixture.sql, 'default', makeSigningKey);
});
afterAll(() => fixture.close());

async function sign(
  claims: JWTPayload,
  by: SigningKey = key,
  header: object = {},
): Promise<string> {
  const privateKey = await importJWK(by.privateJwk, by.algorithm);
  return new SignJWT({ iss: ISSUER, iat: 1_000, exp: 1_300, ...claims })
    .setProtectedHeader({ alg: by.algorithm, typ: 'JWT', kid: by.kid, ...header })
    .sign(privateKey);
}

async function lease() {
  const taskId = await enqueue(fixture.sql);
  return (await claimAll(fixture.sql)).find((task) => task.taskId === taskId)!;
}

const put = (
  taskId: string,
  headers: Record<string, string | null>,
  body: unknown = { progress: 42 },
) => fixture.call('PUT', `/v1/tasks/${taskId}/progress`, { headers, body });
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const progressOf = async (taskId: string) =>
  (await fixture.call('GET', `/v1/tasks/${taskId}`)).body.progress;

describe('PUT /v1/tasks/{id}/progress', () => {
  it("takes the attempt's own token long after its exp, in either header", async () => {
    const task = await lease();
    const token = await sign({ jti: task.leaseId });
    expect((await put(task.taskId, bearer(token))).status).toBe(204);
    expect(await progressOf(task.taskId)).toBe(42);
    const own = { authorization: null, [HEADER.authorization]: `Bearer ${token}` };
    expect((await put(task.taskId, own, { progress: 99.5 })).status).toBe(204);
    expect(await progressOf(task.taskId)).toBe(99.5);
  });

  it('refuses a token whose lease has ended, and the token of another task', async () => {
    const [task, other] = [await lease(), await lease()];
    const token = await sign({ jti: task.leaseId });
    expectProblem(await put(other.taskId, bearer(token)), 'lease-lost');
    await settle(fixture.sql, task, SUCCEED);
    expectProblem(await put(task.taskId, bearer(token)), 'lease-lost');
  });

  it('refuses a token that is not ours', async () => {
    const task = await lease();
    const stranger = await makeSigningKey();
    const tenant = await fixture.createTenant();
    const theirs = await ensureSigningKey(fixture.sql, tenant.project, makeSigningKey);
    const claims = { jti: task.leaseId };
    const bad = [
      await sign(claims, stranger),
      await sign(claims, stranger, { kid: key.kid }),
      await sign(claims, theirs),
      await sign({ ...claims, iss: 'https://elsewhere.example' }),
      await sign({ ...claims, iss: `${ISSUER}/p/${tenant.project}` }),
      await sign({}),
      await sign({ jti: 'x' }),
      await sign(claims, key, { typ: 'at+jwt' }),
      `${(await sign(claims)).slice(0, -4)}AAAA`,
      'eyJ.eyJ.x',
    ];
    for (const token of bad)
      expectProblem(await put(task.taskId, bearer(token)), 'unauthenticated');
    expectProblem(
      await put(task.taskId, { [HEADER.authorization]: 'Bearer x' }),
      'unauthenticated',
    );
    // Its own project's token is a good one, but this is another project's task.
    const foreign = await sign({ ...claims, iss: `${ISSUER}/p/${tenant.project}` }, theirs);
    expectProblem(await put(task.taskId, bearer(foreign)), 'not-found');
    expect(await progressOf(task.taskId)).toBeNull();
  });

  it('takes an API key while the task lives', async () => {
    const task = await lease();
    expect((await put(task.taskId, {})).status).toBe(204);
    await settle(fixture.sql, task, SUCCEED);
    expectProblem(await put(task.taskId, {}), 'task-finished');
  });

  it.each([-1, 100.5, '1', null])('refuses the progress %j', async (progress) => {
    const { taskId } = await lease();
    const { errors } = expectProblem(await put(taskId, {}, { progress }), 'invalid-request');
    expect(errors[0].pointer).toBe('/progress');
  });
});
