import pLimit from 'p-limit';
import type { RowSettings, RowVerbs } from '../row.ts';
import { createSignedCaller } from '../signed-call.ts';
import { IN_FLIGHT, newId, PAYLOAD } from '../work.ts';

/** No queue at all: what one writes who needs N signed calls, and what every figure is divided by. */
export async function openRow({ targetUrl }: RowSettings): Promise<RowVerbs> {
  const { call } = await createSignedCaller();
  const limit = pLimit(IN_FLIGHT);
  return {
    async drain(tasks) {
      await Promise.all(
        Array.from({ length: tasks }, () => limit(() => call(newId(), targetUrl, PAYLOAD))),
      );
    },
  };
}
