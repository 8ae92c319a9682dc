import {
  CreateBucketCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadBucketCommand,
  ListObjectsV2Command,
  NoSuchKey,
  PutObjectCommand,
  S3Client,
  S3ServiceException,
} from '@aws-sdk/client-s3';
import type { Telemetry } from '../../telemetry.js';
import { messageOf, waitFor } from '../wait-for.js';
import { checkKey } from './key.js';
import type { ObjectStore } from './objects.js';

const DELETE_BATCH = 1_000;
const CONNECT_TIMEOUT_MS = 5_000;
const IDLE_TIMEOUT_MS = 30_000;

export interface S3Options {
  readonly endpoint: string;
  readonly region: string;
  readonly bucket: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** A request over whose connection no byte has gone for this time is tried again over another one, ms; default 30,000. */
  readonly idleTimeoutMs?: number;
}

/** Objects in S3 or a store that speaks its protocol. Waits for the endpoint and creates the (private) bucket when it is missing. */
export async function createS3Store(
  options: S3Options,
  telemetry: Telemetry,
  signal?: AbortSignal,
): Promise<ObjectStore> {
  const client = new S3Client({
    endpoint: options.endpoint,
    region: options.region,
    forcePathStyle: true,
    credentials: { accessKeyId: options.accessKeyId, secretAccessKey: options.secretAccessKey },
    // Many compatible stores do not understand the checksums that newer SDKs add to every request.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    maxAttempts: 3,
    // Without them a host that dies without a word holds a request for up to hours. A large object may take its time while it moves.
    requestHandler: {
      connectionTimeout: CONNECT_TIMEOUT_MS,
      socketTimeout: options.idleTimeoutMs ?? IDLE_TIMEOUT_MS,
    },
  });
  const Bucket = options.bucket;
  const where = new URL(options.endpoint).host;
  const waiting = { what: 'S3', where, log: telemetry.log, reasonOf, ...(signal ? { signal } : {}) };
  await waitFor(waiting, () => ensureBucket(client, Bucket));
  return {
    kind: 's3',
    async put(key, body, contentType) {
      await client.send(
        new PutObjectCommand({ Bucket, Key: checkKey(key), Body: body, ContentType: contentType }),
      );
    },
    async get(key, range) {
      try {
        const Range = range === undefined ? undefined : `bytes=${range.start}-${range.end}`;
        const answer = await client.send(new GetObjectCommand({ Bucket, Key: checkKey(key), Range }));
        return (await answer.Body?.transformToByteArray()) ?? new Uint8Array();
      } catch (error) {
        if (error instanceof NoSuchKey) return null;
        if (error instanceof S3ServiceException && error.name === 'InvalidRange') return new Uint8Array();
        throw error;
      }
    },
    async delete(keys) {
      for (let from = 0; from < keys.length; from += DELETE_BATCH) {
        const Objects = keys.slice(from, from + DELETE_BATCH).map((key) => ({ Key: checkKey(key) }));
        const { Errors } = await client.send(
          new DeleteObjectsCommand({ Bucket, Delete: { Objects, Quiet: true } }),
        );
        const failed = Errors?.[0];
        if (failed)
          throw new Error(`S3 refused to delete ${Errors.length} objects: ${failed.Code ?? 'unknown'}`);
      }
    },
    async *list(prefix) {
      let ContinuationToken: string | undefined;
      do {
        const page = await client.send(
          new ListObjectsV2Command({ Bucket, Prefix: prefix, ContinuationToken }),
        );
        for (const { Key } of page.Contents ?? []) if (Key !== undefined) yield Key;
        ContinuationToken = page.NextContinuationToken;
      } while (ContinuationToken !== undefined);
    },
    async ping() {
      await client.send(new HeadBucketCommand({ Bucket }));
    },
    async close() {
      client.destroy();
    },
  };
}

/** An answer to HEAD has no words, only a status. */
function reasonOf(error: unknown): string {
  const status = error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined;
  if (status === 401 || status === 403)
    return `HTTP ${status}: see AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and what the key may do with the bucket`;
  return status === undefined ? messageOf(error) : `HTTP ${status}: ${messageOf(error)}`;
}

async function ensureBucket(client: S3Client, Bucket: string): Promise<void> {
  try {
    await client.send(new HeadBucketCommand({ Bucket }));
  } catch (error) {
    if (!(error instanceof S3ServiceException) || error.$metadata.httpStatusCode !== 404) throw error;
    await client.send(new CreateBucketCommand({ Bucket }));
  }
}
