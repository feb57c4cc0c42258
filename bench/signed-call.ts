import { createHash } from 'node:crypto';
import { generateKeyPair, SignJWT } from 'jose';
import { Agent, request } from 'undici';
import { claimsOf, headersOf, IN_FLIGHT, PAYLOAD } from './work.ts';

export interface SignedCaller {
  /** Signs and makes one call; rejects unless it is answered 200. */
  call(taskId: string, url: string, payload: string): Promise<void>;
}

/** The call as one writes it by hand, by undici and jose: the plain loop's, and each peer's job. */
export async function createSignedCaller(): Promise<SignedCaller> {
  const { privateKey } = await generateKeyPair('ES256');
  const dispatcher = new Agent({ connections: IN_FLIGHT, pipelining: 1 });
  const header = { alg: 'ES256', typ: 'JWT', kid: 'bench' };
  return {
    async call(taskId, url, payload) {
      const bodySha256 = createHash('sha256').update(payload).digest('base64url');
      const token = await new SignJWT(claimsOf(new URL(url), taskId, bodySha256))
        .setProtectedHeader(header)
        .sign(privateKey);
      const { statusCode, body } = await request(url, {
        method: 'POST',
        dispatcher,
        body: payload,
        headers: headersOf(taskId, token),
      });
      await body.dump();
      if (statusCode !== 200) throw new Error(`Expected 200, got ${statusCode}`);
    },
  };
}

/** What a peer keeps of a task. */
export interface CallJob {
  taskId: string;
  url: string;
  payload: string;
}

export function newJob(taskId: string, url: string): CallJob {
  return { taskId, url, payload: PAYLOAD };
}
