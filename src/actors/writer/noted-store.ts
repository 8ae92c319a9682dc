import { type EventStore, StoreUnavailableError } from '../../storage/events/event-store.js';
import { type FrameStream, StreamUnavailableError } from '../../storage/stream/stream.js';

/** What the partition writer does with the store. */
export type WriterStore = Pick<
  EventStore,
  'insertRows' | 'addToBooks' | 'quarantine' | 'existingIds' | 'recentIds' | 'repair'
>;

/** The store, of which the stream notes what may take effect after a crash: rows, and those made anew. */
export function notedStore(store: WriterStore, sending: NonNullable<FrameStream['sending']>): WriterStore {
  const noted = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await sending(work);
    } catch (error) {
      if (!(error instanceof StreamUnavailableError)) throw error;
      throw new StoreUnavailableError(error.message, { cause: error });
    }
  };
  return {
    insertRows: (table, rows, token, deadline) => noted(() => store.insertRows(table, rows, token, deadline)),
    repair: (partition, partitions, range) => noted(() => store.repair(partition, partitions, range)),
    addToBooks: (entries, token) => store.addToBooks(entries, token),
    quarantine: (entries, token) => store.quarantine(entries, token),
    existingIds: (candidates) => store.existingIds(candidates),
    recentIds: (partition, partitions, since, limit) => store.recentIds(partition, partitions, since, limit),
  };
}
