/** Events as files, out and in. */
import type { AnyRoute } from '../edge/route.js';
import { importRoutes } from '../edge/routes/imports.js';
import { rawExportRoutes } from '../edge/routes/raw-export.js';
import type { Notifier } from '../notifications/notification-service.js';
import type { ImportRecord } from '../storage/metadata/imports.js';
import type { MetadataStore } from '../storage/metadata/metadata.js';
import type { ObjectStore } from '../storage/objects/objects.js';
import type { Publisher } from '../storage/stream/publisher.js';
import type { FrameStream } from '../storage/stream/stream.js';
import { runImport } from '../transfer/import-run.js';
import { createImportRunner } from '../transfer/import-runner.js';
import { createImportService } from '../transfer/import-service.js';
import { transferMetrics } from '../transfer/transfer-metrics.js';
import { undoImport } from '../transfer/undo.js';
import { deleteUpload, sweepUploads } from '../transfer/upload.js';
import type { SiteDirectory } from '../websites/site.js';
import type { EventStores } from './event-store.js';
import type { OpenContext } from './storage.js';

const MIB = 1024 * 1024;
const SWEEP_MS = 3_600_000;

export interface TransferParts {
  readonly stores: Pick<EventStores, 'events' | 'raw' | 'imported'>;
  readonly metadata: Pick<MetadataStore, 'imports' | 'erasures'>;
  readonly objects: ObjectStore;
  readonly stream: FrameStream;
  readonly publisher: Publisher;
  readonly sites: SiteDirectory;
  readonly notifier: Notifier;
}

/** Builds the room and starts its runner. */
export function composeTransfer(context: OpenContext, parts: TransferParts): readonly AnyRoute[] {
  const { config, telemetry, lifecycle } = context;
  const { stores, objects, stream, publisher, sites } = parts;
  const { imports } = parts.metadata;
  const metrics = transferMetrics(telemetry.registry);
  const run = {
    ...{ imports, objects, metrics },
    events: stores.events,
    drain: (signal: AbortSignal) => stream.drain(signal),
    erasures: parts.metadata.erasures,
    rows: stores.imported,
    deleteUpload: (id: string) => deleteUpload(objects, id),
    publish: (frame: Parameters<Publisher['publish']>[0]) => publisher.publish(frame),
    keepsAddresses: async (siteId: string) => keepsAddresses(await sites.resolve(siteId)),
  };
  const runner = createImportRunner({
    ...{ imports, metrics, telemetry },
    run: (item, signal) => runImport(run, item, signal),
    undo: (item, signal) => undoImport(run, item, signal),
    async onEnded(item, state) {
      await deleteUpload(objects, item.id);
      const ended = await imports.find(item.websiteId, item.id);
      if (item.userId !== null && ended !== null)
        await parts.notifier.notify(item.userId, newsOf(ended, state));
    },
  });
  lifecycle.add('import runner', runner, (it) => it.stop());
  const sweep = () =>
    sweepUploads(objects, (ids) => imports.unfinished(ids), Date.now()).catch((err: unknown) =>
      telemetry.log.warn({ err }, 'left uploads could not be removed: it comes again'),
    );
  const timer = setInterval(sweep, SWEEP_MS);
  timer.unref();
  lifecycle.add('sweeping uploads', timer, async (it) => clearInterval(it));
  const limitBytes = config.IMPORT_MAX_MB * MIB;
  return [
    ...rawExportRoutes({ store: stores.raw, metrics }),
    ...importRoutes({
      imports: createImportService({
        ...{ imports, objects, limitBytes, wake: runner.wake },
        maxWaiting: config.IMPORT_MAX_WAITING,
      }),
      limitBytes,
    }),
  ];
}

function keepsAddresses(site: Awaited<ReturnType<SiteDirectory['resolve']>>): boolean {
  return site?.storeAddress === true && !site.cutAddress;
}

function newsOf(item: ImportRecord, state: 'done' | 'failed') {
  const name = item.fileName === '' ? 'a file' : item.fileName;
  return state === 'failed'
    ? {
        type: 'import_failed' as const,
        siteId: item.siteId,
        subject: item.id,
        title: 'An import failed',
        message: `The import of ${name} failed: ${item.error ?? 'internal error'}`,
      }
    : {
        type: 'import_finished' as const,
        siteId: item.siteId,
        subject: item.id,
        title: 'An import is done',
        message: `${name}: ${item.rowsAdded} rows added, ${item.rowsDuplicate} there already, ${item.rowsRejected} rejected`,
      };
}
