import { resolve } from 'node:path';
import type { PartChoice } from './engines.js';

export interface BannerFacts {
  readonly port: number;
  readonly dataDir: string;
  readonly parts: readonly PartChoice[];
  /** Default 1. */
  readonly processes?: number;
  /** No account exists yet. */
  readonly needsSetup: boolean;
  readonly startedInMs: number;
}

/** What a person sees after the start, at most ten lines: where it is, where the data lies, what runs where, what to do next. */
export function banner(facts: BannerFacts): string {
  const url = `http://localhost:${facts.port}`;
  const lines = [
    `Seentics Core is ready at ${url} (started in ${(facts.startedInMs / 1000).toFixed(1)} s)`,
    `  data      ${resolve(facts.dataDir)}`,
    `  embedded  ${namesOf(facts.parts, true)}`,
    `  servers   ${namesOf(facts.parts, false)}`,
  ];
  if (facts.processes !== undefined) lines.push(`  processes ${facts.processes}`);
  if (facts.needsSetup) {
    lines.push(
      '  next      create the first account (it becomes the admin): open /setup of the dashboard, or',
      `            curl ${url}/api/v1/user/auth/register -H 'Content-Type: application/json' -d '{"name":"You","email":"you@example.com","password":"CHANGE ME"}'`,
    );
  }
  lines.push(
    `  snippet   <script defer src="https://YOUR-DASHBOARD/trackers/seentics-core.min.js" data-website-id="SITE ID" data-api-host="${url}"></script>`,
  );
  return lines.join('\n');
}

function namesOf(parts: readonly PartChoice[], embedded: boolean): string {
  const names = parts
    .filter((part) => part.embedded === embedded)
    .map((part) => `${part.part}: ${part.where}`);
  return names.length === 0 ? 'none' : names.join(' · ');
}
