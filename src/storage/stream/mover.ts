import { AppError } from '../../errors.js';
import type { Logger } from '../../telemetry.js';
import { fittingMessages, type Moved } from './fitting.js';
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
   * Resolves once the message is in the target and acknowledged, or when the signal says so. When the target will never take something of
   * it, the message stays in the log, unacknowledged, and comes again with the next opening of the log: others are not to wait for it.
   */
  async move(partition: number, message: StreamMessage): Promise<void> {
    const { signal, metrics, isRepartitioning, log, target } = this.options;
    const whole = { partition, message: message.data };
    let left = isRepartitioning ? this.fitting(whole) : [whole];
    let isKept = false;
    const backoff = new Backoff(RETRY_FIRST_MS, this.options.retryMs);
    while (!signal.aborted) {
      const [next, ...others] = left;
      if (next === undefined) {
        if (isKept) return;
        metrics.spooledMessages.inc({ direction: 'out' });
        return message.ack();
      }
      const outcome = await this.append(next);
      if (outcome === 'taken') {
        left = others;
      } else if (outcome === 'refused') {
        await pause(backoff.take(), signal);
      } else {
        const parts = this.fitting(next);
        isKept ||= parts.length === 1;
        left = parts.length === 1 ? others : [...parts, ...others];
        if (parts.length === 1)
          log.error(
            { partition, bytes: next.message.byteLength, most: target.maxMessageBytes },
            'an event is too large for the stream: it stays on disk until the stream takes it and this node starts again',
          );
      }
    }
  }

  private async append({ partition, message }: Moved): Promise<'taken' | 'refused' | 'too large'> {
    try {
      await this.options.target.append(partition, message);
      this.options.worked?.();
      return 'taken';
    } catch (error) {
      if (error instanceof MessageTooLargeError) return 'too large';
      if (!(error instanceof StreamUnavailableError || error instanceof StreamFullError)) throw error;
      this.options.failed?.(error);
      return 'refused';
    }
  }

  /** What cannot be divided goes as it is: whoever reads it says what is wrong with it. */
  private fitting({ partition, message }: Moved): Moved[] {
    const { partitions, maxMessageBytes = Number.POSITIVE_INFINITY } = this.options.target;
    try {
      return fittingMessages(message, partitions, maxMessageBytes);
    } catch (error) {
      if (error instanceof AppError && error.code === 'internal') return [{ partition, message }];
      throw error;
    }
  }
}
