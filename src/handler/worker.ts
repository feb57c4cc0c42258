import type { IterativeTask } from './iterative-task.ts';
import { iterativeTask } from './iterative-task.ts';
import type { WorkerOptions } from './settings.ts';
import { resolveSettings } from './settings.ts';
import type { TaskFunction, TaskHandler, TaskOptions } from './task.ts';
import { task } from './task.ts';
import type { TaskRequest } from './verify.ts';
import { verify } from './verify.ts';

/** The kit with the worker's options said once; each function takes options that override them. */
export interface Worker {
  verify(request: Request, options?: WorkerOptions): Promise<TaskRequest>;
  task<Input>(fn: TaskFunction<Input>, options: TaskOptions<Input>): TaskHandler;
  task(fn: TaskFunction<string>, options?: WorkerOptions & { input?: undefined }): TaskHandler;
  iterativeTask<Entity, Cursor = string, Filter = unknown>(
    definition: IterativeTask<Entity, Cursor, Filter>,
    options?: WorkerOptions,
  ): TaskHandler;
}

/**
 * Says once whose tasks this worker takes and under which URL it is reached; both come from the
 * environment (`ERRAND_ISSUER`, `ERRAND_WORKER_URL`) where they are not given.
 *
 * @throws ConfigurationError when an option is missing or wrong.
 *
 * @example
 * const errand = createWorker({ issuer: 'https://errand.example', publicUrl: 'https://app.example' });
 * const greet = errand.task((name) => `Hello ${name}`);
 * app.post('/tasks/greet', (c) => greet(c.req.raw));
 */
export function createWorker(options: WorkerOptions = {}): Worker {
  resolveSettings(options);
  return {
    verify: (request, more) => verify(request, { ...options, ...more }),
    task: <Input>(fn: TaskFunction<Input>, more?: Partial<TaskOptions<Input>>) =>
      task(fn, { ...options, ...more } as TaskOptions<Input>),
    iterativeTask: (definition, more) => iterativeTask(definition, { ...options, ...more }),
  };
}
