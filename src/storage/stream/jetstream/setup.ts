import {
  AckPolicy,
  DeliverPolicy,
  DiscardPolicy,
  type JetStreamManager,
  NatsError,
  nanos,
  ReplayPolicy,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
} from 'nats';
import type { Logger } from '../../../telemetry.js';

/** JetStream's numeric error codes that mean something to us. */
export const ApiError = {
  streamNotFound: 10059,
  consumerNotFound: 10014,
  wrongLastSequence: 10071,
  filterNotUnique: 10100,
  storeFailed: 10077,
  storageExceeded: 10047,
  insufficientResources: 10023,
  noMessage: 10037,
} as const;

export function apiErrorCode(error: unknown): number | undefined {
  return error instanceof NatsError ? error.api_error?.err_code : undefined;
}

/** How long an owner may hold a message before the server gives it again, ms. Take-overs do not wait for it. */
const ACK_WAIT_MS = 60_000;
const MAX_ACK_PENDING = 4096;

export interface Names {
  readonly stream: string;
  /** Messages of partition N have the subject `<subject>.N`. */
  readonly subject: string;
  readonly bucket: string;
}

export interface SetupOptions extends Names {
  readonly partitions: number;
  readonly replicas: number;
  readonly limitBytes: number;
  readonly leaseTtlMs: number;
}

/** Creates the stream of messages and the bucket of leases, or brings their settings up to date. */
export async function setUp(manager: JetStreamManager, options: SetupOptions, log: Logger): Promise<void> {
  const { stream, subject, bucket, replicas, limitBytes, leaseTtlMs } = options;
  await ensureStream(manager, log, {
    name: stream,
    subjects: [`${subject}.*`],
    retention: RetentionPolicy.Workqueue,
    discard: DiscardPolicy.New,
    max_bytes: limitBytes,
    max_age: 0,
    num_replicas: replicas,
  });
  // Laid out as NATS' key-value buckets are, so that their tools show it.
  await ensureStream(manager, log, {
    name: `KV_${bucket}`,
    subjects: [`$KV.${bucket}.>`],
    max_msgs_per_subject: 1,
    discard: DiscardPolicy.New,
    max_age: nanos(leaseTtlMs),
    duplicate_window: nanos(Math.min(leaseTtlMs, 120_000)),
    allow_rollup_hdrs: true,
    num_replicas: replicas,
  });
  await warnOfOrphans(manager, options, log);
}

type Wanted = Partial<StreamConfig> & { readonly name: string };

/** With fewer partitions than before nobody would ever read the rest: say so. */
async function warnOfOrphans(
  manager: JetStreamManager,
  { stream, subject, partitions }: SetupOptions,
  log: Logger,
): Promise<void> {
  const { state } = await manager.streams.info(stream, { subjects_filter: `${subject}.*` });
  for (const [name, messages] of Object.entries(state.subjects ?? {})) {
    if (Number(name.slice(subject.length + 1)) < partitions) continue;
    log.error(
      { subject: name, messages },
      'messages wait in a partition that is not consumed: raise PARTITIONS',
    );
  }
}

async function ensureStream(manager: JetStreamManager, log: Logger, wanted: Wanted): Promise<void> {
  let present: StreamConfig;
  try {
    present = (await manager.streams.info(wanted.name)).config;
  } catch (error) {
    if (apiErrorCode(error) !== ApiError.streamNotFound) throw error;
    await manager.streams.add({ storage: StorageType.File, ...wanted });
    log.info({ stream: wanted.name }, 'created a stream in NATS');
    return;
  }
  const changed =
    present.max_bytes !== (wanted.max_bytes ?? -1) ||
    present.max_age !== wanted.max_age ||
    present.num_replicas !== wanted.num_replicas ||
    present.discard !== wanted.discard ||
    present.subjects.join() !== wanted.subjects?.join();
  if (!changed) return;
  await manager.streams.update(wanted.name, { ...present, ...wanted });
  log.info({ stream: wanted.name }, 'changed the settings of a stream in NATS');
}

/** Name of the consumer of a partition: carries the epoch of its owner and how often that owner made it anew. */
export function consumerName(partition: number, epoch: number, generation: number): string {
  return `p${partition}-e${epoch}-${generation}`;
}

/**
 * Makes this owner's consumer of a partition, in place of any other: what the other had delivered and was not acknowledged is
 * delivered at once, its pulls end and its acknowledgements have no effect.
 */
export async function replaceConsumer(
  manager: JetStreamManager,
  { stream, subject }: Names,
  partition: number,
  name: string,
): Promise<void> {
  const filter = `${subject}.${partition}`;
  const add = () =>
    manager.consumers.add(stream, {
      durable_name: name,
      filter_subject: filter,
      ack_policy: AckPolicy.Explicit,
      deliver_policy: DeliverPolicy.All,
      replay_policy: ReplayPolicy.Instant,
      ack_wait: nanos(ACK_WAIT_MS),
      max_ack_pending: MAX_ACK_PENDING,
      max_deliver: -1,
    });
  try {
    await add();
  } catch (error) {
    if (apiErrorCode(error) !== ApiError.filterNotUnique) throw error;
    for await (const { name: other, config } of manager.consumers.list(stream)) {
      if (config.filter_subject === filter) await deleteConsumer(manager, stream, other);
    }
    await add();
  }
}

export async function deleteConsumer(manager: JetStreamManager, stream: string, name: string): Promise<void> {
  try {
    await manager.consumers.delete(stream, name);
  } catch (error) {
    const code = apiErrorCode(error);
    if (code !== ApiError.consumerNotFound && code !== ApiError.streamNotFound) throw error;
  }
}
