/**
 * The handler kit: what a worker needs to take tasks from Errand. Everything is a web
 * `Request → Response` function; `errand/handler/node` bridges to Node, Express and Fastify.
 */
export type { TaskContext } from './attempt.ts';
export type { VerificationCode } from './errors.ts';
export {
  ConfigurationError,
  FatalTaskError,
  HandlerError,
  RetryLaterError,
  VerificationError,
} from './errors.ts';
export type { Batch, IterationOutput, IterativeTask } from './iterative-task.ts';
export { iterativeTask } from './iterative-task.ts';
export type { WorkerOptions } from './settings.ts';
export type { SchemaIssue, SchemaResult, StandardSchema } from './standard-schema.ts';
export type { TaskFunction, TaskHandler, TaskOptions } from './task.ts';
export { task } from './task.ts';
export type { TaskRequest } from './verify.ts';
export { verify } from './verify.ts';
export type { Worker } from './worker.ts';
export { createWorker } from './worker.ts';
