import { writeSync } from 'node:fs';
import { openLocalLog } from '../../src/storage/stream/local-log.js';
import { silentTelemetry } from '../../src/telemetry.js';

const [directory = '', round = '0'] = process.argv.slice(2);
const log = await openLocalLog({
  ...{ directory, partitions: 2, limitBytes: 1e9, segmentBytes: 20_000 },
  telemetry: silentTelemetry(),
});

async function appendForEver(lane: number): Promise<void> {
  for (let i = 0; ; i++) {
    const id = `${round}-${lane}-${i}`;
    await log.append(lane % 2, Buffer.from(`${id} ${'x'.repeat((i * 37) % 500)}`));
    writeSync(1, `${id}\n`);
  }
}
await Promise.all([0, 1, 2, 3, 4].map(appendForEver));
