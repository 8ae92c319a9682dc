import { join } from 'node:path';
import { Api, type Site } from '../support/api.js';
import { freshPostgres } from '../support/fresh.js';
import { Guard } from '../support/guard.js';
import { Program } from '../support/program.js';

/** The program as it is meant to be run, with events in Postgres, its admin and one site. */
export interface Production {
  readonly program: Program;
  /** URL of the database. */
  readonly databaseUrl: string;
  readonly site: Site;
  /** Access token of the admin, who owns the site; signs in with `account`. */
  readonly token: string;
  stop(): Promise<void>;
}

/** @param env settings besides those that every production has */
export async function startProduction(env: Readonly<Record<string, string>>): Promise<Production> {
  const [guard, database] = await Promise.all([Guard.start(), freshPostgres()]);
  const program = await Program.start(guard, {
    dataDir: join(guard.directory, 'data'),
    env: { DATABASE_URL: database.url, EVENT_STORE: 'postgres', ENVIRONMENT: 'production', ...env },
  });
  const api = await Api.register(() => program.url);
  return {
    program,
    databaseUrl: database.url,
    site: await api.createSite('shop.example'),
    token: api.token,
    async stop() {
      await program.stop();
      await database.drop();
      await guard.stop();
    },
  };
}
