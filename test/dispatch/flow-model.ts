import { createFlow, type Flow } from '../../src/dispatch/flow.ts';
import type { FlowTask } from '../../src/dispatch/flow-types.ts';
import { DEFAULT_FLOW_LIMITS } from '../../src/model.ts';
import type { FlowLimits } from '../../src/protocol/resources.ts';

export interface Action {
  kind:
    | 'enqueue'
    | 'begin'
    | 'finish'
    | 'retry'
    | 'undo'
    | 'postpone'
    | 'wait'
    | 'fail claim'
    | 'cancel'
    | 'hand over';
  key: number;
  pick: number;
}

interface Parked {
  task: FlowTask;
  isHolder: boolean;
}

/**
 * A queue with a flow, without database and target: what the store would have in its rooms, and what
 * a dispatcher would do with it. Time passes by `wait` alone.
 */
export function createFlowModel(fields: Partial<FlowLimits>) {
  const limits = { ...DEFAULT_FLOW_LIMITS, ...fields };
  const rooms = {
    parked: new Map<string, Parked[]>(),
    claimed: [] as FlowTask[],
    inFlight: [] as FlowTask[],
    waiting: [] as FlowTask[],
  };
  const starts: { flowKey: string; taskId: string; atMs: number }[] = [];
  let nowMs = 0;
  let number = 0;
  let longest = 0;
  let flow: Flow = createFlow(limits, { othersMs: -1e12 });
  flow.load({ parkedKeys: [], held: [], leases: [] }, nowMs);

  const lineOf = (flowKey: string) => rooms.parked.get(flowKey) ?? [];

  function park(task: FlowTask, { isFirst = false, delaySeconds = 0 } = {}): void {
    const one = { task, isHolder: flow.isHolder(task) };
    const line = lineOf(task.flowKey!);
    // Its place is its sequence number's: what was claimed comes before all that is parked.
    rooms.parked.set(task.flowKey!, isFirst || one.isHolder ? [one, ...line] : [...line, one]);
    flow.noteParked(task, nowMs, delaySeconds);
  }

  function claim(task: FlowTask): void {
    if (flow.admit(task, nowMs)) rooms.claimed.push(task);
    else park(task);
    noteWaits();
  }

  function call(limit: number, isLost = false) {
    flow.secondsUntilCallable(nowMs);
    const calls = flow.takeCallable(limit, nowMs);
    if (isLost) return flow.answer(calls, null, nowMs);
    const taken = calls.flatMap((c) => lineOf(c.flowKey).splice(0, c.limit));
    const tasks = taken.map(({ task }) => task);
    rooms.claimed.push(...tasks);
    flow.answer(calls, tasks, nowMs);
    noteWaits();
  }

  function noteWaits(): void {
    for (const task of rooms.claimed) {
      longest = Math.max(longest, flow.secondsUntilBegin(task, nowMs));
    }
  }

  /** Lets what its key allows begin; returns how many did. */
  function begin(): number {
    const ready = rooms.claimed.filter((task) => {
      if (flow.secondsUntilBegin(task, nowMs) > 0) return false;
      flow.begin(task, nowMs);
      starts.push({ flowKey: task.flowKey!, taskId: task.taskId, atMs: nowMs });
      return true;
    });
    rooms.claimed = rooms.claimed.filter((task) => !ready.includes(task));
    rooms.inFlight.push(...ready);
    return ready.length;
  }

  function end(task: FlowTask, kind: 'succeed' | 'retry'): void {
    flow.finish(task, kind, nowMs);
    if (kind === 'retry') rooms.waiting.push(task);
    call(2);
  }

  function giveBack(task: FlowTask, delaySeconds: number): void {
    flow.undo(task, nowMs);
    park(task, { isFirst: true, delaySeconds });
  }

  function cancel(pick: number): void {
    const lines = [...rooms.parked.values()].filter((line) => line.length > 0);
    const line = lines[pick % Math.max(1, lines.length)];
    const task = pick % 2 === 0 ? rooms.waiting.shift() : line?.shift()?.task;
    if (task !== undefined) flow.noteEnded(task, nowMs);
  }

  /** Calls in flight end before; what has not begun is given back. */
  function handOver(): void {
    for (const task of rooms.inFlight.splice(0)) end(task, 'retry');
    for (const task of rooms.claimed.splice(0)) giveBack(task, 0);
    const { keys, others } = flow.filling(nowMs);
    const since = (seconds: number) => nowMs - seconds * 1000;
    const keysMs = new Map(Object.entries(keys).map(([key, seconds]) => [key, since(seconds)]));
    const isHolder = (task: FlowTask) => flow.isHolder(task);
    const waiting = rooms.waiting.filter(isHolder).map((task) => ({ task, isParked: false }));
    const lines = [...rooms.parked.values()].flat().filter((one) => one.isHolder);
    const holders = lines.filter(({ task }) => isHolder(task));
    flow = createFlow(limits, { othersMs: since(others), keysMs });
    const held = [...holders.map(({ task }) => ({ task, isParked: true })), ...waiting].map(
      ({ task, isParked }) => ({ flowKey: task.flowKey!, taskId: task.taskId, isParked }),
    );
    const parkedKeys = [...rooms.parked].flatMap(([key, line]) => (line.length > 0 ? [key] : []));
    flow.load({ parkedKeys, held, leases: [] }, nowMs);
  }

  const pickFrom = (tasks: FlowTask[], pick: number) =>
    tasks.splice(pick % Math.max(1, tasks.length), 1)[0];

  const unfinished = () => [
    ...[...rooms.parked.values()].flat().map(({ task }) => task),
    ...rooms.claimed,
    ...rooms.inFlight,
    ...rooms.waiting,
  ];

  return {
    flow: () => flow,
    nowMs: () => nowMs,
    starts,
    unfinished,
    inHand: () => [...rooms.claimed, ...rooms.inFlight],
    longestWaitSeconds: () => longest,
    take({ kind, key, pick }: Action) {
      switch (kind) {
        case 'enqueue':
          return claim({ taskId: `t${number++}`, flowKey: `key ${key}` });
        case 'begin':
          return void begin();
        case 'wait':
          nowMs += pick * 60;
          for (const task of rooms.waiting.splice(0)) claim(task);
          return call(3);
        case 'fail claim':
          return call(3, true);
        case 'cancel':
          return cancel(pick);
        case 'hand over':
          return handOver();
        case 'undo': {
          const task = pickFrom(rooms.claimed, pick);
          return task && giveBack(task, 0);
        }
        case 'postpone': {
          const task = pickFrom(rooms.claimed, pick);
          if (task === undefined) return;
          if (flow.isHolder(task)) return giveBack(task, 1);
          flow.undo(task, nowMs);
          return void rooms.waiting.push(task);
        }
        case 'finish':
        case 'retry': {
          const task = pickFrom(rooms.inFlight, pick);
          return task && end(task, kind === 'retry' ? 'retry' : 'succeed');
        }
      }
    },
    /** Lets everything end. */
    drain(): void {
      for (let round = 0; round < 1_000 && unfinished().length > 0; round += 1) {
        nowMs += 1_000;
        for (const task of rooms.waiting.splice(0)) claim(task);
        while (begin() > 0) for (const task of rooms.inFlight.splice(0)) end(task, 'succeed');
        for (const task of rooms.inFlight.splice(0)) end(task, 'succeed');
        call(3);
      }
      // Long enough for every bucket to be full; and a claim finds that nothing is parked any more.
      nowMs += 100_000;
      call(1_000);
    },
  };
}
