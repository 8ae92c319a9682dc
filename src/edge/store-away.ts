import { AppError } from '../errors.js';
import { StoreUnavailableError } from '../storage/events/event-store.js';

/**
 * What the event store answers to a call of a route: one that is away is a 503, not an unexpected failure.
 * @throws AppError `storage_unavailable`
 */
export async function answered<Result>(result: Promise<Result>): Promise<Result> {
  try {
    return await result;
  } catch (error) {
    if (!(error instanceof StoreUnavailableError)) throw error;
    throw new AppError('storage_unavailable', 'the event store does not answer', { cause: error });
  }
}
