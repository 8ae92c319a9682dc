import { writeSync } from 'node:fs';
import { openJetStream } from '../../src/storage/stream/jetstream.js';
import { openLocalLog } from '../../src/storage/stream/local-log.js';
import { silentTelemetry } from '../../src/telemetry.js';
import type { StreamChildOptions } from './stream-child.js';

const options: StreamChildOptions = JSON.parse(process.argv[2] ?? '');
const telemetry = silentTelemetry();

if (options.kind === 'local') {
  const { directory, round } = options;
  const log = await openLocalLog({
    directory,
    partitions: 2,
    limitBytes: 1e9,
    segmentBytes: 20_000,
    telemetry,
  });
  const appendForEver = async (lane: number) => {
    for (let i = 0; ; i++) {
      const id = `${round}-${lane}-${i}`;
      await log.append(lane % 2, Buffer.from(`${id} ${'x'.repeat((i * 37) % 500)}`));
      writeSync(1, `${id}\n`);
    }
  };
  await Promise.all([0, 1, 2, 3, 4].map(appendForEver));
} else {
  const { url, name } = options;
  const stream = await openJetStream({
    ...{ url, telemetry, streamName: name, subject: name, partitions: 4, limitBytes: 1e9 },
    ...{ leaseTtlMs: 1_500, nodeId: 'child' },
  });
  await stream.consume({
    acquired: async ({ partition, epoch }) => {
      writeSync(1, `epoch ${partition} ${epoch}\n`);
    },
    message: async (_, { data }) => {
      writeSync(1, `received ${Buffer.from(data).toString()}\n`);
    },
    lost: () => Promise.resolve(),
  });
  for (let i = 0; i < 8; i++) await stream.append(i % 4, Buffer.from(`m${i}`));
}
