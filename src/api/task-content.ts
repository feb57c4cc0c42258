import type { Task } from '../protocol/resources.ts';
import { type DataKey, openBody, openHeaders } from '../store/content-seal.ts';
import { isDatabaseAway } from '../store/errors.ts';
import type { TaskRecord } from '../store/task-read.ts';
import type { Caller } from './auth.ts';
import type { RouteParts } from './parts.ts';
import { type OpenRecord, taskResource } from './task-resource.ts';

/**
 * What the new tasks of a caller are encrypted with; null where its project does not encrypt. Throws when
 * that key does not open here: what is to be encrypted is never written as it is.
 */
export async function dataKeyOf(
  { keyring, log }: RouteParts,
  { project, dataKey }: Caller,
): Promise<DataKey | null> {
  if (dataKey === null) return null;
  try {
    return await keyring.get(project, dataKey);
  } catch (error) {
    if (!isDatabaseAway(error)) log.error({ project, error }, 'nothing is enqueued');
    throw error;
  }
}

/**
 * A task as users see it, opened. What does not open (its data key was given up, it was altered) is left
 * out, so that the rest of a list, or of a task, can be seen all the same.
 */
export async function shownTask(
  parts: RouteParts,
  project: string,
  task: TaskRecord,
): Promise<Task> {
  return taskResource(isOpen(task) ? task : await openRecord(parts, project, task));
}

function isOpen(task: TaskRecord): task is OpenRecord {
  return task.seal === null;
}

async function openRecord(
  { keyring, log }: RouteParts,
  project: string,
  task: TaskRecord,
): Promise<OpenRecord> {
  const seal = task.seal!;
  try {
    const key = await keyring.get(project, seal.dataKey);
    const body = task.body && openBody(key, task.queueId, task.body);
    return { ...task, headers: openHeaders(key, task.queueId, seal), body, seal: null };
  } catch (error) {
    if (isDatabaseAway(error)) throw error;
    log.error({ task: task.id, error }, 'a task is shown without its content');
    return { ...task, body: null, seal: null };
  }
}
