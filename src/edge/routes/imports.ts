/** Files of events that are brought into a website (contract 14.2). */
import Type, { type Static } from 'typebox';
import { AppError } from '../../errors.js';
import type { ImportRecord } from '../../storage/metadata/imports.js';
import { type ImportService, isPending } from '../../transfer/import-service.js';
import { type AnyRoute, Nothing, siteRoute, siteUploadRoute } from '../route.js';

export interface ImportRoutesOptions {
  readonly imports: ImportService;
  /** Of an uploaded file, as it comes. */
  readonly limitBytes: number;
}

const count = (description: string) => Type.Integer({ minimum: 0, description });
const orNull = <T extends Type.TSchema>(schema: T, description: string) =>
  Type.Union([schema, Type.Null()], { description });

const ImportBody = Type.Object({
  id: Type.String({ format: 'uuid' }),
  format: Type.Union([Type.Literal('csv'), Type.Literal('ndjson'), Type.Literal('report')], {
    description: 'report: figures, kept as they are and never mixed into those of events',
  }),
  file_name: Type.String({ examples: ['events.csv'] }),
  state: Type.Union([
    Type.Literal('queued'),
    Type.Literal('running'),
    Type.Literal('done'),
    Type.Literal('failed'),
    Type.Literal('undoing'),
    Type.Literal('undone'),
  ]),
  bytes: count('Of the text of the file'),
  done_bytes: count('How much of it is done'),
  rows: Type.Object({
    read: count('Rows of the file so far'),
    added: count('Rows that became events of the website; of a report its figures'),
    duplicate: count('Rows that were there already'),
    rejected: count('Rows that are no events'),
  }),
  errors: Type.Array(Type.Object({ row: Type.Integer({ minimum: 1 }), error: Type.String() }), {
    description: 'The first of the rejected rows',
  }),
  error: orNull(Type.String(), 'Why it failed'),
  report: orNull(Type.Record(Type.String(), Type.Unknown()), 'Of a report: what it says; not in the list'),
  created_at: Type.String({ format: 'date-time' }),
  finished_at: orNull(Type.String({ format: 'date-time' }), 'null: there is still work to do'),
});

const Answer = Type.Object({
  message: Type.String(),
  count: count('Rows that became events; while the import is running: so far'),
  import: ImportBody,
});

const SITE = Type.Object({ website_id: Type.String({ description: 'UUID or public site id' }) });
const ONE = Type.Object({
  website_id: Type.String({ description: 'UUID or public site id' }),
  import_id: Type.String({
    pattern: '^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$',
  }),
});

const COMMON = { tag: 'transfer', bucket: 'api', cors: 'api' } as const;

export function importRoutes({ imports, limitBytes }: ImportRoutesOptions): AnyRoute[] {
  return [
    siteUploadRoute({
      ...COMMON,
      method: 'POST',
      path: '/api/v1/analytics/import',
      summary: 'Bring a file of events into a website',
      access: { site: 'manage' },
      siteFrom: { field: 'websiteId' },
      params: Nothing,
      form: { fileBytes: limitBytes },
      body: Type.Object(
        {
          websiteId: Type.String({ description: 'UUID or public site id' }),
          source: Type.Optional(
            Type.String({ description: 'seentics, also when absent', examples: ['seentics'] }),
          ),
          file: Type.String({
            format: 'binary',
            description: 'An export of events (CSV or NDJSON) or of figures, gzip or not',
          }),
        },
        { description: 'Rows that are there already are left out, so a file may come twice' },
      ),
      responses: { 200: Answer, 202: { ...Answer, description: 'It goes on in the background' } },
      async handle({ read, request, principal }) {
        const { fields, file, site } = await read(
          async (arriving, before) => {
            checkSource(before);
            return { ...(await imports.receive(arriving.bytes)), fileName: arriving.name };
          },
          (upload) => imports.discard(upload),
        );
        if (file === undefined) throw new AppError('invalid_request', 'file is required');
        if (!isOwnSource(fields)) {
          await imports.discard(file);
          checkSource(fields);
        }
        const userId = principal.kind === 'account' ? principal.userId : '';
        return answer(await imports.begin(site, userId, file, request.signal), importMessage);
      },
    }),
    siteRoute({
      ...COMMON,
      method: 'GET',
      path: '/api/v1/websites/:website_id/imports',
      summary: 'Imports of a website, newest first, a hundred at most',
      access: { site: 'manage' },
      siteFrom: { param: 'website_id' },
      params: SITE,
      query: Nothing,
      responses: { 200: Type.Object({ imports: Type.Array(ImportBody) }) },
      handle: async ({ site }) => ({
        status: 200,
        body: { imports: (await imports.list(site.id)).map(bodyOf) },
      }),
    }),
    siteRoute({
      ...COMMON,
      method: 'GET',
      path: '/api/v1/websites/:website_id/imports/:import_id',
      summary: 'How far an import is',
      access: { site: 'manage' },
      siteFrom: { param: 'website_id' },
      params: ONE,
      query: Nothing,
      responses: { 200: ImportBody },
      handle: async ({ site, params }) => ({
        status: 200,
        body: bodyOf(await imports.get(site.id, params.import_id)),
      }),
    }),
    siteRoute({
      ...COMMON,
      method: 'DELETE',
      path: '/api/v1/websites/:website_id/imports/:import_id',
      summary: 'Undo an import: remove exactly the rows that it has added',
      access: { site: 'manage' },
      siteFrom: { param: 'website_id' },
      params: ONE,
      query: Nothing,
      responses: { 200: Answer, 202: { ...Answer, description: 'It goes on in the background' } },
      handle: async ({ site, params, request }) =>
        answer(await imports.undo(site.id, params.import_id, request.signal), undoMessage),
    }),
  ];
}

/** What the original's dialog offers beside: the formats of other programs. */
function isOwnSource(fields: ReadonlyMap<string, string>): boolean {
  return ['', 'seentics'].includes((fields.get('source') ?? '').trim().toLowerCase());
}

function checkSource(fields: ReadonlyMap<string, string>): void {
  if (!isOwnSource(fields)) {
    throw new AppError(
      'invalid_parameter',
      'Only files of this program can be imported: source must be seentics',
    );
  }
}

function answer(record: ImportRecord, messageOf: (record: ImportRecord) => string) {
  const { rowsAdded, rowsDuplicate, rowsRejected, state, error } = record;
  if (state === 'failed') throw new AppError('internal', error ?? 'The import failed');
  const [first] = record.errors;
  if (state === 'done' && rowsAdded + rowsDuplicate === 0 && rowsRejected > 0 && first !== undefined) {
    throw new AppError('invalid_request', `No row could be imported: row ${first.row}: ${first.error}`, {
      details: bodyOf(record),
    });
  }
  const status = isPending(record) ? 202 : 200;
  return { status, body: { message: messageOf(record), count: rowsAdded, import: bodyOf(record) } };
}

function importMessage(record: ImportRecord): string {
  if (isPending(record)) return 'The import goes on in the background';
  if (record.format === 'report') {
    return 'The report was kept as it is: its figures are sums and cannot become events';
  }
  return 'Data imported successfully';
}

const undoMessage = (record: ImportRecord): string =>
  isPending(record) ? 'The import is being undone in the background' : 'The import was undone';

function bodyOf(record: ImportRecord): Static<typeof ImportBody> {
  return {
    id: record.id,
    format: record.format,
    file_name: record.fileName,
    state: record.state,
    bytes: record.bytes,
    done_bytes: record.doneBytes,
    rows: {
      read: record.rowsRead,
      added: record.rowsAdded,
      duplicate: record.rowsDuplicate,
      rejected: record.rowsRejected,
    },
    errors: [...record.errors],
    error: record.error,
    report: record.report,
    created_at: record.createdAt.toISOString(),
    finished_at: record.finishedAt?.toISOString() ?? null,
  };
}
