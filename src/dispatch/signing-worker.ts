import { parentPort } from 'node:worker_threads';
import { signatureOf } from './signature.ts';
import type { SigningOrder } from './signing-thread.ts';

/** The other side of signing-thread.ts: answers each order with its signatures, in turn. */
parentPort!.on('message', ({ inputs, algorithm, key }: SigningOrder) => {
  parentPort!.postMessage(inputs.map((input) => signatureOf(input, algorithm, key)));
});
