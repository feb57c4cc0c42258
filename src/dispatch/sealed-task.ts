import type { ClaimedTask, Settlement } from '../model.ts';
import { type DataKey, openBody, openHeaders, sealContent } from '../store/content-seal.ts';

/** A task whose headers and body are as they are to be sent. */
export type OpenTask = ClaimedTask & { seal: null };

/** Opens what a claim brought. Throws ContentError where it does not open. */
export function openTask(key: DataKey, task: ClaimedTask): OpenTask {
  const headers = openHeaders(key, task.queue, task.seal!);
  return { ...task, headers, body: openBody(key, task.queue, task.body), seal: null };
}

/**
 * The next step of a sealed task is sealed with the same key: its row has the headers of the step before,
 * unless some of them are dropped. Those are found by name, which SQL can't do here.
 */
export function sealNextStep(key: DataKey, task: OpenTask, settlement: Settlement): Settlement {
  const { decision } = settlement;
  if (decision.kind !== 'continue') return settlement;
  const headers = decision.dropAuthorization ? withoutAuthorization(task.headers) : null;
  const sealed = sealContent(key, task.queue, { headers, body: decision.payload });
  return {
    ...settlement,
    decision: {
      ...decision,
      payload: sealed.body,
      dropAuthorization: false,
      ...(sealed.headers !== null && { sealedHeaders: sealed.headers }),
    },
  };
}

function withoutAuthorization(headers: Record<string, string>): Record<string, string> {
  const kept = Object.entries(headers).filter(([name]) => name.toLowerCase() !== 'authorization');
  return Object.fromEntries(kept);
}
