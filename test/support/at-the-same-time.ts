import pg from 'pg';
import { until } from './wait.js';

/**
 * Begins pieces of work while a row that they lock is held, and lets it go when all of them wait for it: none has seen what another did.
 * @param lock statement that locks the row of `id`
 * @returns what they resolve to
 */
export async function atTheSameTime<T>(
  url: string,
  lock: string,
  id: string,
  begin: () => readonly Promise<T>[],
): Promise<T[]> {
  const holder = new pg.Client({ connectionString: url });
  const watcher = new pg.Client({ connectionString: url });
  await Promise.all([holder.connect(), watcher.connect()]);
  try {
    await holder.query('BEGIN');
    await holder.query(lock, [id]);
    const work = begin();
    const ended = Promise.all(work);
    ended.catch(() => undefined); // Seen below.
    const waiting =
      "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    await until(async () => (await watcher.query(waiting)).rowCount === work.length, {
      what: `${work.length} statements to wait for the row`,
    });
    await holder.query('COMMIT');
    return await ended;
  } finally {
    await Promise.all([holder.end(), watcher.end()]);
  }
}
