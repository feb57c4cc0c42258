import type { Decision } from '../model.ts';
import type { FlowLimits } from '../protocol/resources.ts';
import type { FlowFilling } from '../store/ownership.ts';

/** A task with a flow key, as far as its limits are concerned. */
export interface FlowTask {
  taskId: string;
  flowKey: string | null;
}

/** Parked tasks of one key that may be claimed: their tokens and places are promised. */
export interface FlowCall {
  flowKey: string;
  limit: number;
}

/** What was found of a queue's keys in the store: by a new owner, and whenever something is doubted. */
export interface FoundFlow {
  parkedKeys: readonly string[];
  /** Tasks that hold their keys and are not in flight. */
  held: readonly { flowKey: string; taskId: string; isParked: boolean }[];
  /** Calls in flight of an owner before us. */
  leases: readonly { flowKey: string; taskId: string }[];
}

/** What claims ask of a flow. */
export interface FlowOfClaims {
  /** True once what the store knows is known here: nothing of the queue is claimed before. */
  isLoaded: boolean;
  /** True when a claim found the queue changed or closed: its keys wait until it is looked at again. */
  isRefused: boolean;
  /** True when the task may be dispatched, which then counts; false when it is to be parked. */
  admit(task: FlowTask, nowMs: number): boolean;
  /** A task that was told to run now: it counts, but no limit stands in its way. */
  force(task: FlowTask, nowMs: number): void;
  /** A task was parked, or may have been; a holder is not called before the delay is over. */
  noteParked(task: FlowTask, nowMs: number, delaySeconds?: number): void;
  /** Takes what may be claimed from parked keys now, for at most `limit` tasks. */
  takeCallable(limit: number, nowMs: number): FlowCall[];
  /** What the claim of those calls brought; null when that is not known, and it was undone. */
  answer(calls: readonly FlowCall[], tasks: readonly FlowTask[] | null, nowMs: number): void;
  /** True when a parked key had room at the last look or change. */
  hasCallable(): boolean;
  /**
   * Looks which keys have got room. Seconds until time lets another be called: 0 when one may be called
   * now, Infinity when none waits for time to pass.
   */
  secondsUntilCallable(nowMs: number): number;
  parkedKeys(): number;
  /** Keys that tasks were last parked of: what is ready of them belongs behind those. */
  blockedKeys(): string[];
}

/** What attempts tell a flow, and ask of it. */
export interface FlowOfAttempts {
  /** Seconds until the rate of its key lets the call of an admitted task begin; 0 when it does now. */
  secondsUntilBegin(task: FlowTask, nowMs: number): number;
  /** Its call begins. */
  begin(task: FlowTask, nowMs: number): void;
  /** True for the task that comes before all others of its key. */
  isHolder(task: FlowTask): boolean;
  /** The dispatch of an admitted task did not come about; in an ordered flow it keeps its key. */
  undo(task: FlowTask, nowMs: number): void;
  /** An attempt is over and settled. */
  finish(task: FlowTask, kind: Decision['kind'], nowMs: number): void;
}

/** The limits of the flow keys of a queue. */
export interface Flow extends FlowOfClaims, FlowOfAttempts {
  /** Other limits, in force from now on; null = keys mean nothing, and all that is parked is called. */
  change(limits: FlowLimits | null, nowMs: number): void;
  load(found: FoundFlow, nowMs: number): void;
  /** From now on every holder is doubtful, once. */
  doubtAll(nowMs: number): void;
  /** Holders that may have ended, and calls of other owners: do they live still? */
  doubtful(nowMs: number): { holders: string[]; foreign: string[] };
  /** Those of the doubtful that have ended, or whose foreign lease has, and those that are parked now. */
  forget(gone: Record<'holders' | 'foreign' | 'parked', readonly string[]>, nowMs: number): void;
  /** A task was cancelled or removed while it waited. */
  noteEnded(task: FlowTask, nowMs: number): void;
  /** Drops what need not be remembered; true when nothing is left. */
  sweep(nowMs: number): boolean;
  /** What is left to the next owner. */
  filling(nowMs: number): FlowFilling;
}
