import { afterEach, describe, expect, it, vi } from 'vitest';
import { silentTelemetry } from '../../telemetry.js';
import type { Actor, ActorContext, StopReason } from './actor.js';
import { ActorPoisonedError, ActorStoppedError, MailboxFullError } from './errors.js';
import { ActorGroup, type ActorGroupOptions } from './group.js';

type Options<R> = Partial<ActorGroupOptions<string, string, R>>;

/** Groups of the test under way, to be stopped with it: a sweep keeps no process alive, but goes on under the files that follow. */
const started: { stop(deadlineMs: number): Promise<unknown> }[] = [];
afterEach(() => Promise.all(started.splice(0).map((actors) => actors.stop(0))));

function group<R>(
  create: (context: ActorContext<string, string>) => Actor<string, R>,
  options: Options<R> = {},
): ActorGroup<string, string, R> {
  const actors = new ActorGroup<string, string, R>({
    name: 'test',
    create,
    mailbox: { messages: 100 },
    telemetry: silentTelemetry(),
    restart: { firstMs: 1, maxMs: 4 },
    ...options,
  });
  started.push(actors);
  return actors;
}

function gate(): { open: () => void; passed: Promise<void> } {
  let open = () => {};
  const passed = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, passed };
}

describe('an actor', () => {
  it('handles one message at a time, in order', async () => {
    const log: string[] = [];
    const actors = group(() => ({
      async receive(message) {
        log.push(`${message} begins`);
        await new Promise((resolve) => setImmediate(resolve));
        log.push(`${message} ends`);
        return message.toUpperCase();
      },
    }));
    expect(await Promise.all([actors.ask('a', 'x'), actors.ask('a', 'y')])).toEqual(['X', 'Y']);
    expect(log).toEqual(['x begins', 'x ends', 'y begins', 'y ends']);
  });

  it('delays no other actor while it waits', async () => {
    const blocked = gate();
    const actors = group((context) => ({
      receive: (message) => (context.key === 'slow' ? blocked.passed.then(() => message) : message),
    }));
    const slow = actors.ask('slow', '1');
    expect(await actors.ask('fast', '2')).toBe('2');
    blocked.open();
    expect(await slow).toBe('1');
  });

  it('lets others in between when its mailbox never runs dry', async () => {
    const order: string[] = [];
    const actors = group((context) => ({
      receive() {
        order.push(context.key);
      },
    }));
    for (let i = 0; i < 100; i++) actors.tell('noisy', 'x');
    await actors.ask('quiet', 'x');
    expect(order.indexOf('quiet')).toBe(32);
  });

  it('takes what waits behind the current message, but nothing that was asked', async () => {
    const handled: string[][] = [];
    const actors = group((context) => ({
      async receive(message) {
        await Promise.resolve();
        const together = [message];
        for (let next = context.takeWaiting(); next !== undefined; next = context.takeWaiting())
          together.push(next);
        handled.push(together);
      },
    }));
    for (const message of ['a', 'b', 'c']) actors.tell('k', message);
    await actors.ask('k', 'd');
    expect(handled).toEqual([['a', 'b', 'c'], ['d']]);
    expect(actors.waiting).toBe(0);
  });
});

describe('a full mailbox is an answer', () => {
  it('by count', async () => {
    const blocked = gate();
    const actors = group(() => ({ receive: () => blocked.passed }), { mailbox: { messages: 2 } });
    const first = actors.ask('k', '1');
    await Promise.resolve();
    expect([actors.tell('k', '2'), actors.tell('k', '3'), actors.tell('k', '4')]).toEqual([
      true,
      true,
      false,
    ]);
    await expect(actors.ask('k', '5')).rejects.toThrow(MailboxFullError);
    blocked.open();
    await first;
  });

  it('by weight, save for a message that is too heavy alone', () => {
    const actors = group(() => ({ receive: () => {} }), {
      mailbox: { messages: 100, weight: 10, weigh: (message) => message.length },
    });
    expect(actors.tell('a', '12345678901234567890')).toBe(true);
    expect(actors.tell('a', '1')).toBe(false);
    expect(actors.tell('b', '123456')).toBe(true);
    expect(actors.tell('b', '12345')).toBe(false);
    expect(actors.tell('b', '1234')).toBe(true);
  });

  it('by number of actors', () => {
    const actors = group(() => ({ receive: () => {} }), { maxActors: 1 });
    expect([actors.tell('a', '1'), actors.tell('b', '1')]).toEqual([true, false]);
  });
});

describe('a failing actor', () => {
  it('tells the asker, is replaced, and its successor gets the mailbox', async () => {
    const lives: StopReason[] = [];
    let born = 0;
    const actors = group(() => {
      const life = ++born;
      return {
        receive(message) {
          if (message === 'bad') throw new Error('no');
          return `${message}${life}`;
        },
        onStop: (reason) => void lives.push(reason),
      };
    });
    const bad = actors.ask('k', 'bad');
    const good = actors.ask('k', 'good');
    await expect(bad).rejects.toThrow('no');
    expect(await good).toBe('good2');
    expect(lives).toEqual(['failed']);
  });

  it('rests longer after each failure in a row and is given up at the limit with all that waits', async () => {
    const dropped: string[] = [];
    const actors = group(() => ({ receive: () => Promise.reject(new Error('always')) }), {
      restart: { firstMs: 1, maxMs: 2, poisonLimit: 3 },
      onDropped: (_key, message, error) => void dropped.push(`${message} ${error.name}`),
    });
    const asked = ['1', '2', '3', '4'].map((message) => actors.ask('k', message));
    actors.tell('k', '5');
    const outcomes = await Promise.allSettled(asked);
    expect(outcomes.map((outcome) => outcome.status === 'rejected' && outcome.reason.message)).toEqual([
      'always',
      'always',
      'always',
      'test k failed 3 times in a row',
    ]);
    expect(dropped).toEqual([`5 ${ActorPoisonedError.name}`]);
    expect(actors.size).toBe(0);
  });

  it('survives an error of its own factory', async () => {
    let attempts = 0;
    const actors = group(() => {
      if (++attempts === 1) throw new Error('not yet');
      return { receive: (message) => message };
    });
    await expect(actors.ask('k', '1')).rejects.toThrow('not yet');
    expect(await actors.ask('k', '2')).toBe('2');
  });
});

describe('passivation', () => {
  it('removes the idle, keeps the busy, and hands the state on', async () => {
    const saved = new Map<string, string>();
    const actors = group(
      (context) => {
        let state = saved.get(context.key) ?? '';
        return {
          receive(message) {
            state += message;
            return state;
          },
          onStop: () => void saved.set(context.key, state),
          canPassivate: () => context.key !== 'busy',
        };
      },
      { idleMs: 10 },
    );
    await Promise.all([actors.ask('idle', 'a'), actors.ask('busy', 'a')]);
    await vi.waitFor(() => expect(actors.size).toBe(1));
    expect(await actors.ask('idle', 'b')).toBe('ab');
    expect(await actors.ask('busy', 'b')).toBe('ab');
  });

  it('loses no message that arrives while the actor stops', async () => {
    const stopping = gate();
    const mayStop = gate();
    let born = 0;
    const actors = group(
      () => {
        const life = ++born;
        return {
          receive: (message) => `${message}${life}`,
          onStop: () => {
            stopping.open();
            return mayStop.passed;
          },
        };
      },
      { idleMs: 5 },
    );
    await actors.ask('k', 'a');
    await stopping.passed;
    const late = actors.ask('k', 'b');
    mayStop.open();
    expect(await late).toBe('b2');
  });

  it('waits for a timer, whose message comes back to the actor; timers end with the actor', async () => {
    const got: string[] = [];
    const actors = group(
      (context) => ({
        receive(message) {
          got.push(message);
          if (message === 'start') context.setTimer('t', 30, 'tick');
          if (message === 'fail') {
            context.setTimer('u', 1, 'never');
            throw new Error('fails');
          }
        },
      }),
      { idleMs: 5 },
    );
    actors.tell('a', 'start');
    await expect(actors.ask('b', 'fail')).rejects.toThrow();
    await vi.waitFor(() => expect(actors.size).toBe(0));
    expect(got).toEqual(['start', 'fail', 'tick']);
  });
});

describe('stop', () => {
  it('lets what waits be handled and refuses the rest', async () => {
    const handled: string[] = [];
    const stopped: string[] = [];
    const actors = group((context) => ({
      async receive(message) {
        await new Promise((resolve) => setImmediate(resolve));
        handled.push(message);
      },
      onStop: (reason) => void stopped.push(`${context.key} ${reason}`),
    }));
    for (const message of ['1', '2', '3']) actors.tell('k', message);
    const stop = actors.stop(1_000);
    expect(actors.tell('k', '4')).toBe(false);
    await expect(actors.ask('k', '5')).rejects.toThrow(ActorStoppedError);
    expect(await stop).toEqual({ dropped: 0 });
    expect(handled).toEqual(['1', '2', '3']);
    expect(stopped).toEqual(['k stop']);
  });

  it('drops what is left at the deadline, and says so', async () => {
    const dropped: string[] = [];
    const actors = group(() => ({ receive: () => new Promise<void>(() => {}) }), {
      onDropped: (_key, message) => void dropped.push(message),
    });
    for (const message of ['1', '2', '3']) actors.tell('k', message);
    const asked = actors.ask('k', '4');
    const outcome = expect(asked).rejects.toThrow(ActorStoppedError);
    expect(await actors.stop(20)).toEqual({ dropped: 3 });
    await outcome;
    expect(dropped).toEqual(['2', '3']);
  });

  it('does not wait for an actor that rests after a failure', async () => {
    const actors = group(
      () => ({
        receive(message) {
          if (message === 'bad') throw new Error('no');
          return message;
        },
      }),
      { restart: { firstMs: 60_000, maxMs: 60_000 } },
    );
    await expect(actors.ask('k', 'bad')).rejects.toThrow();
    const waiting = actors.ask('k', 'good');
    expect(await actors.stop(1_000)).toEqual({ dropped: 0 });
    expect(await waiting).toBe('good');
  });
});

it('counts what happens', async () => {
  const telemetry = silentTelemetry();
  const actors = group(
    () => ({
      receive(message) {
        if (message === 'bad') throw new Error('no');
      },
    }),
    { telemetry, idleMs: 5, mailbox: { messages: 1 } },
  );
  actors.tell('a', '1');
  actors.tell('a', '2');
  const page = await telemetry.registry.metrics();
  expect(page).toContain('seentics_actors_alive{group="test"} 1');
  expect(page).toContain('seentics_actor_refusals_total{group="test"} 1');
  await expect(actors.ask('b', 'bad')).rejects.toThrow();
  await vi.waitFor(async () => {
    const later = await telemetry.registry.metrics();
    expect(later).toContain('seentics_actors_alive{group="test"} 0');
    expect(later).toContain('seentics_actor_restarts_total{group="test"} 1');
    expect(later).toContain('seentics_actor_passivations_total{group="test"} 2');
  });
});
