/** The id as users see it: the UUID without its dashes. */
export function taskIdText(uuid: string): string {
  return uuid.replaceAll('-', '');
}

/**
 * The shard inside a task id: the upper 12 of the 14 bits behind the UUID's variant. An id that nobody
 * made may give any number to 4,095: a shard where nothing lies.
 */
export function shardOf(taskId: string): number {
  return (Number.parseInt(taskId.slice(16, 20), 16) & 0x3fff) >> 2;
}
