/** Small shared state of the cluster: rate counters, short-lived values and notices. Two adapters: Redis and memory. */
export interface Cache {
  readonly kind: 'redis' | 'memory';
  get(key: string): Promise<string | null>;
  set(key: string, value: string, ttlMs: number): Promise<void>;
  /** Sets only if absent; true when this call set it. */
  add(key: string, value: string, ttlMs: number): Promise<boolean>;
  delete(...keys: string[]): Promise<void>;
  /**
   * Adds `amount` to a counter that lives for `windowMs` from its first addition (atomically: no counter without expiry).
   * @returns the new value
   */
  increment(key: string, amount: number, windowMs: number): Promise<number>;
  /** Tells all nodes, this one included. Best effort: every listener must also bound what it caches by time. */
  publish(channel: string, message: string): Promise<void>;
  subscribe(channel: string, listener: (message: string) => void): Promise<() => void>;
  ping(): Promise<void>;
  close(): Promise<void>;
}
