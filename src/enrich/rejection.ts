import type { RejectionCode } from './protocol.js';

/** Why one event is refused for good; its neighbours are not touched. */
export class Rejection {
  constructor(
    readonly code: RejectionCode,
    /** Safe to show to the sender. */
    readonly message: string,
  ) {}
}
