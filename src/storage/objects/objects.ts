/** Blobs by key (replays, exports). Two adapters: S3 and a folder. Keys are `[a-z0-9/_.-]` with `/` as separator, never `..`. */
export interface ObjectStore {
  readonly kind: 's3' | 'folder';
  put(key: string, body: Uint8Array, contentType: string): Promise<void>;
  /** null when there is no such object. `range` is inclusive byte offsets. */
  get(key: string, range?: { start: number; end: number }): Promise<Uint8Array | null>;
  delete(keys: readonly string[]): Promise<void>;
  /** All keys under a prefix, in order. */
  list(prefix: string): AsyncIterable<string>;
  ping(): Promise<void>;
  close(): Promise<void>;
}
