/** Routes that take forms with a file. */
import { AppError } from '../errors.js';
import type { Site } from '../websites/site.js';
import { BodyStream } from './body-stream.js';
import { Exchange, type RouteTraits } from './exchange.js';
import { admitToSite } from './gate.js';
import { tooLarge } from './inflate.js';
import { readForm } from './multipart.js';
import { decodeParams, paramNames } from './query.js';
import { allHeaders, type Caller, type EdgeRequest, wholeRequest } from './request.js';
import type { ReadForm, Reply, UploadEndpoint } from './route.js';
import { admitLimited, type ServeOptions, SWALLOW_BYTES } from './serve.js';
import type { UwsHandler } from './uws.js';

/** What a form may have beside its file: fields, part headers, boundaries. */
const FORM_OVERHEAD_BYTES = 256 * 1024;

/** The body is read from the start but goes nowhere, and no further than its first pieces, until the caller was let in. */
export function serveUpload(
  endpoint: UploadEndpoint,
  traits: RouteTraits,
  options: ServeOptions,
): UwsHandler {
  const names = paramNames(endpoint.path);
  const limitBytes = endpoint.form.fileBytes + FORM_OVERHEAD_BYTES;
  return (res, req) => {
    const headers = allHeaders(req);
    const origin = headers.get('origin') ?? '';
    const exchange = new Exchange(options.edge, traits, res, origin, false);
    try {
      const request = wholeRequest(req, endpoint.method, headers, options.address.of(res, req));
      exchange.request = request;
      const encoded = names.map((_, index) => req.getParameter(index));
      const declared = Number(headers.get('content-length') ?? Number.NaN);
      if (!/^(?:identity)?$/i.test(request.header('content-encoding').trim())) {
        exchange.closeConnection = true;
        throw new AppError('unsupported_encoding', 'A form must not be compressed; its file may be');
      }
      if (declared > limitBytes) {
        exchange.closeConnection = declared > SWALLOW_BYTES;
        throw tooLarge(endpoint.form.fileBytes);
      }
      const body = new BodyStream(res, options.edge.budget, limitBytes);
      exchange.body = body;
      body.start();
      const settle = (answer: () => void): void => {
        if (!exchange.aborted && !body.stop() && !(declared <= SWALLOW_BYTES))
          exchange.closeConnection = true;
        answer();
      };
      callUpload(endpoint, options, request, () => decodeParams(names, encoded), body).then(
        (reply) => settle(() => exchange.reply(reply)),
        (error: unknown) => settle(() => exchange.refuse(error)),
      );
    } catch (error) {
      exchange.refuse(error);
    }
  };
}

async function callUpload(
  endpoint: UploadEndpoint,
  options: ServeOptions,
  request: EdgeRequest,
  params: () => Record<string, string>,
  body: BodyStream,
): Promise<Reply<unknown>> {
  const principal = await admitLimited(endpoint, options, request);
  const call = { principal, site: null, params: params() };
  request.caller = call;
  const run = endpoint.accept({ params: call.params, request, principal });
  return run(formReader(endpoint, options, request, call, body));
}

function formReader(
  endpoint: UploadEndpoint,
  { gate, uploads }: ServeOptions,
  request: EdgeRequest,
  call: Caller,
  body: BodyStream,
): ReadForm<Site | null> {
  const { siteField, access, form } = endpoint;
  const siteOf = async (fields: ReadonlyMap<string, string>): Promise<Site | null> => {
    if (siteField === null) return null;
    const siteRef = fields.get(siteField) ?? '';
    if (siteRef === '') throw new AppError('invalid_request', `${siteField} is required`);
    const site = await admitToSite(gate, access, call.principal, siteRef);
    request.caller = { ...call, site };
    return site;
  };
  return async (take, discard) => {
    let site: Site | null = null;
    let kept: { readonly taken: Awaited<ReturnType<typeof take>> } | undefined;
    const { principal } = call;
    const end = uploads.begin(principal.kind === 'account' ? principal.userId : '');
    try {
      const { fields, file } = await readForm(
        body,
        request.header('content-type'),
        form,
        async (arriving, before) => {
          if (siteField !== null && before.has(siteField)) site = await siteOf(before);
          kept = { taken: await take(arriving, before) };
          return kept;
        },
      );
      site ??= await siteOf(fields);
      return { fields, file: file?.taken, site };
    } catch (error) {
      if (kept !== undefined) await discard?.(kept.taken);
      throw error;
    } finally {
      end();
    }
  };
}
