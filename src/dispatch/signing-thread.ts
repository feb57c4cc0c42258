import type { KeyObject } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { signatureOf } from './signature.ts';

/** What one message to the thread asks for. */
export interface SigningOrder {
  inputs: string[];
  algorithm: string;
  key: KeyObject;
}

export interface SigningThread {
  /** The signature of one input, base64url. */
  sign(input: string, algorithm: string, key: KeyObject): Promise<string>;
  close(): Promise<void>;
}

interface Waiting {
  input: string;
  resolve: (signature: string) => void;
  reject: (error: unknown) => void;
}

type Batch = Omit<SigningOrder, 'inputs'> & { waiting: Waiting[] };

/** So few are signed here: to hand them over and back takes longer. */
const FEW = 2;
/** Signatures of a message: what is called first should not wait for all that were claimed with it. */
const CHUNK = 32;

/**
 * Signs what a claim brings on another processor: of all that a call costs, a signature is the half,
 * and by WebCrypto or node:crypto's callbacks as much again goes to handing single ones over and back.
 * What is asked for in one turn of the event loop goes in few messages; a single one is signed at once.
 * The thread is started by the first that are many, and signed here is all that it can't take: while it
 * starts, after it died, and where there is no second processor.
 */
export function createSigningThread(processors = availableParallelism()): SigningThread {
  let batches = new Map<KeyObject, Batch>();
  let worker: Worker | null = null;
  let isReady = false;
  let isClosed = false;
  const sent: Batch[] = [];

  function flush(): void {
    const all = batches;
    batches = new Map();
    for (const batch of all.values()) {
      if (batch.waiting.length <= FEW || !canHandOver()) signHere(batch);
      else handOver(batch);
    }
  }

  function canHandOver(): boolean {
    if (processors === 1 || isClosed) return false;
    worker ??= start();
    return isReady;
  }

  function start(): Worker {
    const started = new Worker(
      new URL(`./signing-worker${extname(import.meta.filename)}`, import.meta.url),
    );
    started.once('online', () => {
      isReady = true;
    });
    started.on('message', take);
    // What it still had is signed here, and the next claim starts another.
    started.once('error', () => undefined);
    started.once('exit', () => {
      worker = null;
      isReady = false;
      for (const batch of sent.splice(0)) signHere(batch);
    });
    // After the listeners, which would hold the process again.
    started.unref();
    return started;
  }

  function handOver({ waiting, algorithm, key }: Batch): void {
    for (let at = 0; at < waiting.length; at += CHUNK) {
      const chunk = { waiting: waiting.slice(at, at + CHUNK), algorithm, key };
      sent.push(chunk);
      const inputs = chunk.waiting.map(({ input }) => input);
      worker!.postMessage({ inputs, algorithm, key } satisfies SigningOrder);
    }
  }

  function take(signatures: string[]): void {
    const { waiting } = sent.shift()!;
    for (const [index, { resolve }] of waiting.entries()) resolve(signatures[index]!);
  }

  return {
    sign(input, algorithm, key) {
      return new Promise((resolve, reject) => {
        if (batches.size === 0) queueMicrotask(flush);
        const batch = batches.get(key) ?? { waiting: [], algorithm, key };
        batches.set(key, batch);
        batch.waiting.push({ input, resolve, reject });
      });
    },
    async close() {
      isClosed = true;
      await worker?.terminate();
    },
  };
}

function signHere({ waiting, algorithm, key }: Batch): void {
  for (const { input, resolve, reject } of waiting) {
    try {
      resolve(signatureOf(input, algorithm, key));
    } catch (error) {
      reject(error);
    }
  }
}
