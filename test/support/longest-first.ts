import { basename } from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Files that take longest, the longest first: begun late, one of them alone would keep the whole run waiting. */
const LONGEST = [
  'crash-servers',
  'metrics',
  'round-trip',
  'carried-figures',
  'crash-embedded',
  'crash-postgres',
  'clickhouse-cluster',
  'browser',
  'lifecycle',
  'forgetting',
  'gate',
  'privacy-account',
  'figures',
  'metrics-sql',
  'replay-program',
  'privacy-visitor',
  'partition-writer',
  'stream-local',
  'imports',
  'stream-jetstream',
  'automations-crash',
].map((name) => `${name}.test.ts`);

const place = ({ moduleId }: TestSpecification): number => {
  const found = LONGEST.indexOf(basename(moduleId));
  return found === -1 ? LONGEST.length : found;
};

/** The same order on every machine: vitest's own knows how long files took only where it ran before. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return (await super.sort(files)).toSorted((a, b) => place(a) - place(b));
  }
}
