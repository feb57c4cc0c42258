import { type ChildProcess, fork } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { type FromWorker, newSeen, type Seen } from './messages.ts';
import { endProcess, lastLines, type Service } from './service.ts';

/** The worker's process, as the demo sees it. */
export interface WorkerProcess {
  url: string;
  pid: number | undefined;
  seen(): Seen;
  /** Resolves at the next news of what it has seen. */
  news(): Promise<void>;
  /** When the call of a probe's task arrived, in ns of the machine's monotonic clock. */
  arrival(taskId: string): Promise<bigint>;
}

export interface WorkerParts {
  /** Resolves when it listens; rejects when it ends before. */
  ready: Promise<WorkerProcess>;
  stop(): Promise<void>;
}

/** Started at once. What it prints goes to a log in `folder`, where its results lie too. */
export function startWorker(service: Service, root: string, folder: string): WorkerParts {
  const logFile = join(folder, 'worker.log');
  const log = openSync(logFile, 'a');
  const child = fork(join(import.meta.dirname, 'worker.ts'), {
    execArgv: ['--conditions=errand-source'],
    stdio: ['ignore', log, log, 'ipc'],
    env: {
      ...process.env,
      DEMO_ROOT: root,
      DEMO_RESULTS: resultsFileOf(folder),
      ERRAND_URL: service.url,
      ERRAND_KEY: service.key,
    },
  });
  closeSync(log);
  return { ready: watch(child, logFile), stop: () => endProcess(child, 'SIGTERM') };
}

export function resultsFileOf(folder: string): string {
  return join(folder, 'results.jsonl');
}

function watch(child: ChildProcess, logFile: string): Promise<WorkerProcess> {
  const { promise, resolve, reject } = Promise.withResolvers<WorkerProcess>();
  const heard = new EventEmitter().setMaxListeners(0);
  const arrivals = new Map<string, bigint>();
  let seen = newSeen();
  child.on('message', (message: FromWorker) => {
    if (message.kind === 'listening') {
      resolve({ url: message.url, pid: child.pid, seen: () => seen, news, arrival });
    } else if (message.kind === 'seen') {
      seen = message.seen;
      heard.emit('seen');
    } else {
      arrivals.set(message.taskId, BigInt(message.at));
      heard.emit(message.taskId);
    }
  });
  child.once('exit', () => {
    reject(new Error(`The worker ended by itself; the end of its log:\n${lastLines(logFile)}`));
  });

  const news = async (): Promise<void> => void (await once(heard, 'seen'));
  const arrival = async (taskId: string): Promise<bigint> => {
    if (!arrivals.has(taskId)) await once(heard, taskId);
    return arrivals.get(taskId)!;
  };
  return promise;
}
