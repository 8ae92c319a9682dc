import { AppError } from '../errors.js';

/** A bounded number at work, a bounded number waiting: sites take turns, the questions of one come in the order they were asked. */
export class Turns {
  running = 0;
  waiting = 0;
  /** What waits of each site; the site that is served next comes first. */
  private readonly queues = new Map<string, Set<() => void>>();

  /**
   * @param concurrency how many work at the same time
   * @param queueLimit how many may wait before further ones are refused; of one site half as many, so that none is shut out by another
   */
  constructor(
    private readonly concurrency: number,
    private readonly queueLimit: number,
  ) {}

  /**
   * @param site whose turn it is
   * @throws AppError `overloaded` when too many wait, the signal's reason when the caller has left meanwhile, what `work` throws
   */
  async take<T>(site: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    if (this.running < this.concurrency) this.running++;
    else await this.wait(site, signal);
    try {
      signal.throwIfAborted();
      return await work();
    } finally {
      this.passOn();
    }
  }

  private wait(site: string, signal: AbortSignal): Promise<void> {
    const queue = this.queues.get(site) ?? new Set();
    if (this.waiting >= this.queueLimit || queue.size >= Math.ceil(this.queueLimit / 2))
      throw new AppError('overloaded', 'Too many reports are being computed', { retryAfterSeconds: 2 });
    return new Promise((resolve, reject) => {
      const begin = () => {
        signal.removeEventListener('abort', leave);
        resolve();
      };
      const leave = () => {
        this.remove(site, queue, begin);
        reject(signal.reason);
      };
      signal.addEventListener('abort', leave, { once: true });
      this.queues.set(site, queue.add(begin));
      this.waiting++;
    });
  }

  private passOn(): void {
    const [first] = this.queues;
    const [site = '', queue] = first ?? [];
    const [begin] = queue ?? [];
    if (queue === undefined || begin === undefined) {
      this.running--;
      return;
    }
    this.queues.delete(site);
    this.queues.set(site, queue);
    this.remove(site, queue, begin);
    begin();
  }

  private remove(site: string, queue: Set<() => void>, begin: () => void): void {
    queue.delete(begin);
    this.waiting--;
    if (queue.size === 0) this.queues.delete(site);
  }
}
