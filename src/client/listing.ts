import type { Page } from '../protocol/resources.ts';

/**
 * A list, as one page or as all of it: awaited it is the first page (`{ items, nextCursor }`), iterated
 * it gives every item of that page and of all that follow, fetching each when it is reached.
 *
 * @example
 * const { items, nextCursor } = await client.list({ queue: 'mail' });
 * for await (const task of client.list({ queue: 'mail', state: 'failed' })) await client.retry(task.id);
 */
export interface Listing<Item> extends Promise<Page<Item>>, AsyncIterable<Item> {}

/** `fetchPage` is asked for the first page at once, with the cursor that the caller gave, if any. */
export function createListing<Item>(
  fetchPage: (cursor: string | undefined) => Promise<Page<Item>>,
  cursor?: string,
): Listing<Item> {
  const first = fetchPage(cursor);
  async function* iterate(): AsyncGenerator<Item> {
    for (let page = await first; ; page = await fetchPage(page.nextCursor)) {
      yield* page.items;
      if (page.nextCursor === null) return;
    }
  }
  return Object.assign(first, { [Symbol.asyncIterator]: iterate });
}
