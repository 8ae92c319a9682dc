import { AppError } from '../../errors.js';
import type { Source } from '../../events/frame.js';
import type { FrameStream } from './stream.js';
import type { StreamMetrics } from './stream-metrics.js';

/**
 * How full the stream may be (0 to 1) for what is worth less than events, so that the room that is left is theirs. Session recordings
 * have a stream of their own.
 */
const WATERMARKS: Partial<Record<Source, number>> = { import: 0.5, heatmap: 0.8, funnel: 0.9 };

/** A full stream is drained in minutes, not in seconds. */
const RETRY_SECONDS = 30;

/** Refuses what has to wait while the stream is nearly full. */
export class Watermarks {
  constructor(
    private readonly stream: Pick<FrameStream, 'status'>,
    private readonly metrics: Pick<StreamMetrics, 'watermarkRefusals'>,
  ) {}

  /** Whether frames of this source are refused before the stream is full. */
  concern(source: Source): boolean {
    return WATERMARKS[source] !== undefined;
  }

  /** @throws AppError `overloaded` when the stream is too full for this source */
  async check(source: Source): Promise<void> {
    const { fill } = await this.stream.status();
    if (fill < (WATERMARKS[source] ?? Number.POSITIVE_INFINITY)) return;
    this.metrics.watermarkRefusals.inc({ source });
    const retryAfterSeconds = RETRY_SECONDS;
    throw new AppError('overloaded', 'the server is busy with events at the moment', { retryAfterSeconds });
  }
}
