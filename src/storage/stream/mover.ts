import type { Logger } from '../../telemetry.js';
import { fittingMessages, isUnfit, type Moved } from './fitting.js';
import {
  type FrameStream,
  MessageTooLargeError,
  StreamFullError,
  type StreamMessage,
  StreamUnavailableError,
} from './stream.js';
import type { StreamMetrics } from './stream-metrics.js';
import { Backoff, pause } from './waiting.js';

export interface MoverOptions {
  readonly target: FrameStream;
  /** The messages were not laid into the partitions of the target: each site's events go to their own. */
  readonly isRepartitioning: boolean;
  /** Longest pause between two tries, ms. */
  readonly retryMs: number;
  readonly signal: AbortSignal;
  readonly log: Logger;
  readonly metrics: Pick<StreamMetrics, 'spooledMessages'>;
  /** The target has taken a message. */
  readonly worked?: () => void;
  /** The target has not taken it, and is asked again. */
  readonly failed?: (error: Error) => void;
}

const RETRY_FIRST_MS = 50;

/** Moves messages of a local log into another stream, each until that has taken it. */
export class Mover {
  constructor(private readonly options: MoverOptions) {}

  /**
   * Resolves once the message is in the target and acknowledged, or when the signal says so. One that the target will never take stays in
   * the log, unacknowledged, and comes again with the next opening of the log: others are not to wait for it.
   */
  async move(partition: number, message: StreamMessage): Promise<void> {
    const { signal, metrics, isRepartitioning, log } = this.options;
    let left = isRepartitioning
      ? this.fitting(partition, message.data)
      : [{ partition, message: message.data }];
    const backoff = new Backoff(RETRY_FIRST_MS, this.options.retryMs);
    while (!signal.aborted) {
      try {
        for (let next = left[0]; next !== undefined; next = left[0]) {
          await this.append(next);
          left = left.slice(1);
        }
        metrics.spooledMessages.inc({ direction: 'out' });
        await message.ack();
        return;
      } catch (error) {
        if (error instanceof MessageTooLargeError) {
          const fitting = left.flatMap((one) => this.fitting(one.partition, one.message));
          if (fitting.length > left.length) {
            left = fitting;
            continue;
          }
          log.error(
            { partition, bytes: message.data.byteLength, most: this.options.target.maxMessageBytes },
            'an event is too large for the stream: it stays on disk until the stream takes larger messages and this node starts again',
          );
          return;
        }
        if (!(error instanceof StreamUnavailableError || error instanceof StreamFullError)) throw error;
        this.options.failed?.(error);
        await pause(backoff.take(), signal);
      }
    }
  }

  private async append({ partition, message }: Moved): Promise<void> {
    await this.options.target.append(partition, message);
    this.options.worked?.();
  }

  /** What cannot be divided goes as it is: whoever reads it says what is wrong with it. */
  private fitting(partition: number, message: Uint8Array): Moved[] {
    const { partitions, maxMessageBytes = Number.POSITIVE_INFINITY } = this.options.target;
    try {
      return fittingMessages(message, partitions, maxMessageBytes);
    } catch (error) {
      if (isUnfit(error)) return [{ partition, message }];
      throw error;
    }
  }
}
