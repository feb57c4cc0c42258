/** The client: enqueue tasks, look at them, manage queues. Imports nothing but web `fetch`. */

export type { InputError, Problem, ProblemCode } from '../protocol/problem.ts';
export type {
  ActiveWindow,
  Attempt,
  BusinessCalendar,
  Calendar,
  CircuitBreakerSettings,
  CreateTask,
  DispatcherInfo,
  FlowLimits,
  Page,
  Queue,
  QueueSettings,
  QueueStats,
  QueueStatus,
  RateLimits,
  RetryPolicy,
  Task,
  TaskState,
  Weekday,
} from '../protocol/resources.ts';
export type { CalendarInput, CalendarsClient } from './calendars.ts';
export type { BatchItem, EnqueueOptions, ErrandClient, TaskFilters } from './client.ts';
export { createClient } from './client.ts';
export {
  ErrandApiError,
  ErrandClientError,
  ErrandConnectionError,
  ErrandTimeoutError,
} from './errors.ts';
export type { Listing } from './listing.ts';
export type { NewTask } from './new-task.ts';
export type { TaskOutput } from './output.ts';
export type { QueuePatch, QueuesClient } from './queues.ts';
export type { ClientOptions } from './transport.ts';
export type { WaitOptions } from './wait.ts';
