import { isBotAgent, isSenderLibrary } from './bot.js';
import { encodeStrings } from './byte-writer.js';
import { RecentCache } from './recent-cache.js';
import { cut, detached, TEXT_LIMITS } from './text.js';
import { parseUserAgent, UNKNOWN_AGENT, type UserAgent } from './user-agent.js';

/** What a row takes from a user agent: the encoded columns browser to device, and whether it is a bot. */
export interface AgentColumns {
  readonly block: Uint8Array;
  readonly bot: boolean;
}

/** Looks user agents up in bounded caches; parsing one costs some 70 µs. */
export class AgentCache {
  private readonly events: RecentCache<AgentColumns>;
  private readonly headers: RecentCache<AgentColumns>;

  /** @param entries most user agents to remember of each kind */
  constructor(entries: number) {
    this.events = new RecentCache(entries);
    this.headers = new RecentCache(entries);
  }

  /** For the `user_agent` field of an event. */
  ofEvent(userAgent: string): AgentColumns {
    return lookUp(this.events, userAgent, columnsOf);
  }

  /** For the `User-Agent` header of a request. */
  ofHeader(userAgent: string): AgentColumns {
    return lookUp(this.headers, userAgent, (agent) => (isSenderLibrary(agent) ? NO_AGENT : columnsOf(agent)));
  }
}

function lookUp(
  cache: RecentCache<AgentColumns>,
  userAgent: string,
  make: (agent: string) => AgentColumns,
): AgentColumns {
  if (userAgent === '') return NO_AGENT;
  const { userAgent: limit } = TEXT_LIMITS;
  const key = userAgent.length <= limit ? userAgent : detached(cut(userAgent, limit));
  const known = cache.get(key);
  if (known !== undefined) return known;
  const made = make(key);
  cache.set(key, made);
  return made;
}

function columnsOf(userAgent: string): AgentColumns {
  return { block: encodeAgent(parseUserAgent(userAgent)), bot: isBotAgent(userAgent) };
}

function encodeAgent(agent: UserAgent): Uint8Array {
  return encodeStrings([agent.browser, agent.browserVersion, agent.os, agent.osVersion, agent.device]);
}

const NO_AGENT: AgentColumns = { block: encodeAgent(UNKNOWN_AGENT), bot: false };
