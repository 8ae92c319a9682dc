import { type Traffic, UnknownFacts } from './facts.js';

/** What the event store knows of a session up to a moment. */
export interface SessionFacts {
  /** No event of the visitor is older than this session. */
  readonly isNewVisitor: boolean;
  readonly pageViews: number;
  /** Of the first page view; null without one. */
  readonly traffic: Traffic | null;
  /** '' unknown. */
  readonly device: string;
  /** ISO code, '' unknown. */
  readonly country: string;
  readonly browser: string;
  readonly os: string;
}

export interface SessionFactsSource {
  /**
   * @param siteId public site id
   * @param at ms since epoch; later events do not count
   */
  sessionFacts(siteId: string, visitorId: string, sessionId: string, at: number): Promise<SessionFacts>;
}

/** The facts that are decided late. */
export class StoredSessionFacts extends UnknownFacts {
  constructor(private readonly session: SessionFacts) {
    super();
  }

  override device(): string | undefined {
    return this.session.device === '' ? undefined : this.session.device.toLowerCase();
  }

  override isNewVisitor(): boolean {
    return this.session.isNewVisitor;
  }

  override pageViews(): number {
    return this.session.pageViews;
  }

  override traffic(): Traffic | undefined {
    return this.session.traffic ?? undefined;
  }

  override property(name: string): readonly string[] | undefined {
    const { device, country, browser, os } = this.session;
    const known: Readonly<Record<string, string>> = {
      device,
      device_type: device.toLowerCase(),
      country,
      browser,
      os,
    };
    return Object.hasOwn(known, name) && known[name] ? [known[name]] : [];
  }
}
