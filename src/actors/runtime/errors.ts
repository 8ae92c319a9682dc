/** The actor's mailbox (or its whole group) is full: the message was not taken. Try again later. */
export class MailboxFullError extends Error {
  override readonly name = 'MailboxFullError';
}

/** The group is stopping or has stopped before the message was handled. */
export class ActorStoppedError extends Error {
  override readonly name = 'ActorStoppedError';
}

/** The actor failed so often in a row that it was given up; what waited in its mailbox was not handled. */
export class ActorPoisonedError extends Error {
  override readonly name = 'ActorPoisonedError';
}
