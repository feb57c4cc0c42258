import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import type { Cleanup } from '../examples/demo/cleanup.ts';
import { endProcess } from '../examples/demo/service.ts';

/** What a child process of the benchmark does when it is asked to. */
// biome-ignore lint/suspicious/noExplicitAny: each verb has arguments of its own.
type Verbs<V> = { [Name in keyof V]: (...args: any[]) => unknown };

/** The same as its parent sees it: each verb takes a message there and one back. */
export type Remote<V> = {
  [Name in keyof V]: NonNullable<V[Name]> extends (...args: infer Args) => infer Result
    ? (...args: Args) => Promise<Awaited<Result>>
    : never;
};

export interface Child<V> {
  pid: number;
  ask: Remote<V>;
}

type Request = { id: number; verb: string; args: unknown[] };
type Answer = { id: number; result?: unknown; error?: string };

/**
 * Starts a program of the benchmark as a process of its own, so that what it costs can be told apart.
 * It ends with `cleanup`, and by itself when its parent is gone.
 */
export async function startChild<V extends Verbs<V>>(
  program: string,
  args: string[],
  cleanup: Cleanup,
): Promise<Child<V>> {
  const child = fork(new URL(program, import.meta.url), args, {
    serialization: 'advanced',
    execArgv: ['--conditions=errand-source'],
  });
  cleanup.add(() => endProcess(child, 'SIGTERM'));
  const ask = createAsker<V>(child, [program, ...args.slice(0, 1)].join(' '));
  await once(child, 'message');
  return { pid: child.pid!, ask };
}

/** In the child: answers what its parent asks. A terminal's Ctrl-C is the parent's to act upon. */
export function serve<V extends Verbs<V>>(verbs: V): void {
  process.on('SIGINT', () => {});
  process.on('disconnect', () => process.exit(0));
  process.on('message', async ({ id, verb, args }: Request) => {
    try {
      process.send!({ id, result: await verbs[verb as keyof V](...args) });
    } catch (error) {
      process.send!({ id, error: (error as Error).stack ?? String(error) });
    }
  });
  process.send!('ready');
}

function createAsker<V>(child: ChildProcess, name: string): Remote<V> {
  const waiting = new Map<number, PromiseWithResolvers<unknown>>();
  let lastId = 0;

  child.on('message', ({ id, result, error }: Answer) => {
    if (id === undefined) return;
    const asked = waiting.get(id)!;
    waiting.delete(id);
    if (error === undefined) asked.resolve(result);
    else asked.reject(new Error(`${name}: ${error}`));
  });
  child.on('exit', (code, signal) => {
    for (const { reject } of waiting.values())
      reject(new Error(`${name} ended (${signal ?? code})`));
    waiting.clear();
  });

  function ask(verb: string, args: unknown[]): Promise<unknown> {
    lastId += 1;
    const asked = Promise.withResolvers<unknown>();
    waiting.set(lastId, asked);
    child.send({ id: lastId, verb, args } satisfies Request);
    return asked.promise;
  }
  return new Proxy({} as Remote<V>, {
    get:
      (_, verb) =>
      (...args: unknown[]) =>
        ask(String(verb), args),
  });
}
