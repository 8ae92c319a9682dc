/** A process's side of the channel to its parent. */
import { GATHER_MS, type Gathered, readToProcess, type ToParent, type Topic } from './protocol.js';

/** The parent answers in time even when processes do not; beyond this it is in trouble itself. */
const PARENT_MS = GATHER_MS + 1_000;

export interface Link {
  /** Tells the parent that this process serves. */
  up(facts: unknown): void;
  /** What to answer when the parent asks. A rejection counts as no answer. */
  answer(topic: Topic, make: () => Promise<unknown>): void;
  /** Asks all processes of the node, this one included. @throws Error when the parent does not answer */
  gather(topic: Topic): Promise<Gathered>;
  /** The parent has ended, in whatever way. */
  onParentGone(listener: () => void): void;
}

/** @throws Error this process was not started by a parent */
export function linkToParent(channel: NodeJS.Process): Link {
  if (channel.send === undefined || !channel.connected)
    throw new Error('--process is for the program itself: set PROCESSES instead');
  const makers = new Map<Topic, () => Promise<unknown>>();
  const waiting = new Map<number, (gathered: Gathered) => void>();
  let lastId = 0;
  // A parent that is gone is noticed by `disconnect`; what is said to it meanwhile is lost.
  const send = (message: ToParent) => {
    if (channel.connected) channel.send?.(message, undefined, undefined, () => {});
  };
  channel.on('message', (raw: unknown) => {
    const message = readToProcess(raw);
    if (message === undefined) return;
    if (message.kind === 'gathered') {
      waiting.get(message.id)?.(message);
      return;
    }
    const { id } = message;
    const made = makers.get(message.topic)?.() ?? Promise.reject(new Error('not yet'));
    made.then(
      (data) => send({ kind: 'answer', id, data }),
      () => send({ kind: 'answer', id }),
    );
  });
  return {
    up: (facts) => send({ kind: 'up', facts }),
    answer: (topic, make) => void makers.set(topic, make),
    onParentGone: (listener) => {
      channel.once('disconnect', listener);
      if (!channel.connected) listener();
    },
    gather(topic) {
      const id = ++lastId;
      return new Promise<Gathered>((resolve, reject) => {
        const settle = () => {
          clearTimeout(late);
          waiting.delete(id);
        };
        const late = setTimeout(() => {
          settle();
          reject(new Error('the parent of the processes does not answer'));
        }, PARENT_MS);
        waiting.set(id, (gathered) => {
          settle();
          resolve(gathered);
        });
        send({ kind: 'gather', id, topic });
      });
    },
  };
}
