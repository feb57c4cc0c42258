import type { Scenario } from '../scenario.ts';
import { instant, mixed, tour } from './crowds.ts';
import { deafened, restarted, terminated } from './database.ts';
import { filled } from './disk.ts';
import { failedOver, failedOverLate } from './failover.ts';
import { crowded, mistimed, tight } from './limits.ts';
import { partitioned, weathered } from './network.ts';
import { pooled } from './pooler.ts';
import { asked, calm, dozing, frozen, killed } from './processes.ts';
import { upgraded } from './upgrade.ts';

/** The matrix, in the order of its table. */
export const SCENARIOS: readonly Scenario[] = [
  calm,
  instant,
  killed,
  asked,
  frozen,
  dozing,
  restarted,
  terminated,
  deafened,
  failedOver,
  failedOverLate,
  partitioned,
  ...weathered,
  pooled,
  crowded,
  filled,
  tight,
  mistimed,
  upgraded,
  tour,
  mixed,
];
