/** `npm run bench -- NAME [--seconds N] [--rounds N] [--connections 64,512] [--events 1,10] [--targets bare,embedded,servers] [--rate REQUESTS_PER_SECOND] [--fill EVENTS] [--days 1,7,30,90] [--filters 0,1,2] [--polls N] [--data DIR] [--sessions N] [--layouts]` */
import { parseArgs } from 'node:util';
import { runActorsBench } from './actors.js';
import { runAutomationsBench } from './automations.js';
import { runDashboardBench } from './dashboard.js';
import { runIngestBench } from './ingest.js';
import { runIsolationBench } from './isolation.js';
import { runReplayLayoutsBench } from './replay-layouts.js';
import { runReplaysBench } from './replays.js';
import { runWriterBench } from './writer.js';

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string' },
    rounds: { type: 'string', default: '6' },
    connections: { type: 'string', default: '64,512' },
    events: { type: 'string', default: '1,10' },
    rate: { type: 'string' },
    fill: { type: 'string', default: '10000000' },
    days: { type: 'string', default: '1,7,30,90' },
    filters: { type: 'string', default: '0,1,2' },
    sessions: { type: 'string', default: '1000' },
    layouts: { type: 'boolean', default: false },
    polls: { type: 'string', default: '8' },
    data: { type: 'string' },
    targets: { type: 'string', default: 'bare,embedded,servers' },
  },
});
const seconds = (usual: number) => Number(values.seconds ?? usual);
const numbers = (text: string) => text.split(',').map(Number);

const benches: Readonly<Record<string, () => Promise<unknown>>> = {
  ingest: () =>
    runIngestBench({
      seconds: seconds(10),
      connections: numbers(values.connections),
      eventsPerRequest: numbers(values.events),
      targets: values.targets.split(','),
      ...(values.rate === undefined ? {} : { requestsPerSecond: Number(values.rate) }),
    }),
  dashboard: () =>
    runDashboardBench({
      events: Number(values.fill),
      days: numbers(values.days),
      filters: numbers(values.filters),
      polls: Number(values.polls),
      data: values.data,
    }),
  replays: () =>
    values.layouts
      ? runReplayLayoutsBench()
      : runReplaysBench({ sessions: Number(values.sessions), seconds: seconds(60) }),
  isolation: () => runIsolationBench(seconds(5), Number(values.rounds)),
  actors: () => runActorsBench(),
  automations: () => runAutomationsBench(),
  writer: () => runWriterBench(),
};

const bench = benches[positionals[0] ?? ''];
if (bench === undefined) {
  console.error(`usage: npm run bench -- ${Object.keys(benches).join('|')} [options]`);
  process.exitCode = 2;
} else {
  await bench();
}
