/** Forms with a file (multipart/form-data, RFC 7578), read while they arrive. */
import { Busboy, type BusboyFileStream, type BusboyInstance } from '@fastify/busboy';
import { AppError } from '../errors.js';
import { tooLarge } from './inflate.js';

export interface FormLimits {
  /** Bytes of the file. */
  readonly fileBytes: number;
  /** Fields beside it. Default 16. */
  readonly fields?: number;
  /** Bytes of a field. Default 4,096. */
  readonly fieldBytes?: number;
}

/** A file on its way. What the sender says of it is a hint and nothing more. */
export interface FormFile {
  /** The field that it is in. */
  readonly field: string;
  /** Last part of the name that the sender gave, '' for none; at most 255 characters. */
  readonly name: string;
  /** Media type that the sender gave, e.g. `text/csv`. */
  readonly type: string;
  /** Must be read to its end, or left by throwing. Throws `body_too_large` beyond the limit, `invalid_request` for a torn form. */
  readonly bytes: AsyncIterable<Uint8Array>;
}

export interface Form<T> {
  readonly fields: ReadonlyMap<string, string>;
  /** What `take` made of the file; undefined when the form has none. */
  readonly file: T | undefined;
}

const MAX_NAME = 255;
const BOUNDARY = /^multipart\/form-data\b.*;\s*boundary=/i;

/**
 * Reads a form; the file goes to `take` while it arrives, and no faster than `take` reads it.
 * @param take gets the file and the fields that came before it
 * @throws AppError `invalid_request` (no form, torn, a field too long, too many fields, a second file), `body_too_large`, what `body` and
 * `take` throw
 */
export async function readForm<T>(
  body: AsyncIterable<Uint8Array>,
  contentType: string,
  limits: FormLimits,
  take: (file: FormFile, fields: ReadonlyMap<string, string>) => Promise<T>,
): Promise<Form<T>> {
  const fields = new Map<string, string>();
  const parser = parserOf(contentType, limits);
  const failing = new Failing();
  let taking: Promise<T> | undefined;
  let arriving: BusboyFileStream | undefined;
  parser.on('field', (name, value, _nameCut, isCut) => {
    if (isCut) failing.fail(invalid(`The field "${name.slice(0, 40)}" is too long`));
    else if (!fields.has(name)) fields.set(name, value);
  });
  parser.on('file', (field, stream, name, _encoding, type) => {
    arriving = stream;
    taking = takeFile({ field, stream, name, type, limitBytes: limits.fileBytes }, fields, take);
    taking.catch((error: unknown) => failing.fail(error));
  });
  parser.on('filesLimit', () => failing.fail(invalid('The form has more than one file')));
  parser.on('fieldsLimit', () => failing.fail(invalid('The form has too many fields')));
  parser.on('partsLimit', () => failing.fail(invalid('The form has too many parts')));
  try {
    await Promise.race([failing.promise, feed(parser, body, failing)]);
    return { fields, file: await taking };
  } catch (error) {
    parser.destroy();
    // A form that breaks off ends the reader of its file for the same reason.
    arriving?.destroy(error instanceof Error ? error : undefined);
    await taking?.catch(() => {});
    throw error;
  }
}

/** The first failure of what goes on at the same time. */
class Failing {
  readonly promise: Promise<never>;
  #reject: (error: unknown) => void = () => {};
  hasFailed = false;

  constructor() {
    this.promise = new Promise((_, reject) => {
      this.#reject = reject;
    });
    this.promise.catch(() => {});
  }

  fail(error: unknown): void {
    this.hasFailed = true;
    this.#reject(error);
  }
}

function parserOf(
  contentType: string,
  { fields = 16, fieldBytes = 4096, fileBytes }: FormLimits,
): BusboyInstance {
  if (!BOUNDARY.test(contentType.slice(0, 512))) throw invalid('The body must be multipart/form-data');
  try {
    return new Busboy({
      headers: { 'content-type': contentType },
      limits: {
        fields,
        fieldSize: fieldBytes,
        // One more, so that a file of exactly the limit passes.
        fileSize: fileBytes + 1,
        files: 1,
        parts: fields + 2,
        headerPairs: 20,
        headerSize: 4096,
      },
    });
  } catch {
    throw invalid('The body must be multipart/form-data');
  }
}

interface Arriving {
  readonly field: string;
  readonly stream: BusboyFileStream;
  readonly name: string | undefined;
  readonly type: string;
  readonly limitBytes: number;
}

async function takeFile<T>(
  { field, stream, name, type, limitBytes }: Arriving,
  fields: ReadonlyMap<string, string>,
  take: (file: FormFile, fields: ReadonlyMap<string, string>) => Promise<T>,
): Promise<T> {
  // The loop below reports it; this listener is for a failure that comes when nobody reads.
  stream.on('error', () => {});
  stream.on('limit', () => stream.destroy(tooLarge(limitBytes)));
  const bytes = chunksOf(stream, limitBytes);
  try {
    return await take({ field, name: (name ?? '').slice(0, MAX_NAME), type, bytes }, fields);
  } finally {
    stream.destroy();
  }
}

async function* chunksOf(
  stream: BusboyFileStream,
  limitBytes: number,
): AsyncGenerator<Uint8Array, void, void> {
  let received = 0;
  try {
    for await (const chunk of stream) {
      if (!(chunk instanceof Uint8Array)) continue;
      received += chunk.length;
      if (received > limitBytes) throw tooLarge(limitBytes);
      yield chunk;
    }
  } catch (error) {
    throw error instanceof AppError ? error : invalid('The form ends too early');
  }
}

async function feed(
  parser: BusboyInstance,
  body: AsyncIterable<Uint8Array>,
  failing: Failing,
): Promise<void> {
  const finished = new Promise<void>((resolve, reject) => {
    parser.once('finish', resolve);
    parser.once('error', () => reject(invalid('The form is damaged or ends too early')));
  });
  finished.catch(() => {});
  for await (const chunk of body) {
    if (failing.hasFailed) return;
    if (!parser.write(chunk)) await Promise.race([drained(parser), finished, failing.promise]);
  }
  parser.end();
  await finished;
}

const drained = (parser: BusboyInstance): Promise<void> =>
  new Promise((resolve) => {
    parser.once('drain', () => resolve());
  });

const invalid = (message: string): AppError => new AppError('invalid_request', message);
