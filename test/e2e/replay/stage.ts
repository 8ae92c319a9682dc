/** A browser in which pages are recorded and recordings are played. */
import { type BrowserContext, chromium, type Page } from 'playwright-core';
import { type PageServer, type RecorderSettings, serveRecordedPages } from './pages.js';

/** Where recorders send, and what the dashboard gets of it. */
export interface Backend {
  readonly site: string;
  /** Port behind `api.example`. */
  readonly port: number;
  /** Bodies that recorders sent, as they came in. */
  uploads(): readonly string[];
  /** Sends a body as a recorder would; answers the status. */
  post(body: string): Promise<number>;
  /** What the dashboard plays: the events of all chunks of a session, in the API's order. */
  eventsOf(session: string): Promise<unknown[]>;
  /** Whether the list says that something of a session was never received; undefined where there is no list. */
  isIncomplete(session: string): Promise<boolean | undefined>;
  close(): Promise<void>;
}

export interface Playback {
  /** The replayed document as text. */
  readonly dom: string;
  readonly warnings: readonly string[];
  /** What ran: marks left by hostile code, dialogs, frames that spoke. */
  readonly ran: readonly string[];
  /** Paths asked of the canary host. */
  readonly asked: readonly string[];
  /** The player's page, still open. */
  readonly page: Page;
}

export class Stage {
  private constructor(
    readonly backend: Backend,
    readonly pages: PageServer,
    readonly context: BrowserContext,
    /** Settings of the recorders of pages that are loaded from now on, the site apart. */
    readonly use: (settings: Omit<RecorderSettings, 'site'>) => void,
  ) {}

  static async open(backend: Backend, options: { profile: string; chromium: string }): Promise<Stage> {
    let settings: RecorderSettings = { site: backend.site };
    const use = (more: Omit<RecorderSettings, 'site'>) => {
      settings = { ...more, site: backend.site };
    };
    const pages = await serveRecordedPages(() => settings);
    const rules = `MAP api.example 127.0.0.1:${backend.port}, MAP *.example 127.0.0.1:${pages.port}`;
    const context = await chromium.launchPersistentContext(options.profile, {
      executablePath: options.chromium,
      viewport: { width: 800, height: 600 },
      args: [
        ...['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update'],
        ...['--disable-sync', '--no-first-run', `--host-resolver-rules=${rules}`],
      ],
    });
    context.setDefaultTimeout(8_000);
    return new Stage(backend, pages, context, use);
  }

  /** Opens a page of the shop and waits until its recorder has the full snapshot. */
  async visit(path: string, page?: Page): Promise<Page> {
    const opened = page ?? (await this.context.newPage());
    await opened.goto(`http://shop.example${path}`);
    await this.started(opened);
    return opened;
  }

  async started(page: Page): Promise<void> {
    await page.waitForFunction(
      'window.testRecorder && (testRecorder.sent.length > 0 || testRecorder.waiting() > 1)',
    );
  }

  /** The recorded document as text, after everything recorded so far was sent. */
  async recordedDom(page: Page): Promise<string> {
    const source = await (await fetch(`http://127.0.0.1:${this.pages.port}/dom.js`)).text();
    await page.evaluate(source);
    // Mutations are recorded a turn later, mouse moves half a second later.
    await page.evaluate('new Promise((done) => requestAnimationFrame(() => setTimeout(done, 60)))');
    const dom = String(await page.evaluate('serialiseDocument(document)'));
    await page.evaluate('testRecorder.flush()');
    return dom;
  }

  sessionOf(page: Page): Promise<string> {
    return page.evaluate('testRecorder.session');
  }

  /** Plays events in rrweb's own player. */
  async play(
    events: readonly unknown[],
    options: { canvas?: boolean; sync?: boolean } = {},
  ): Promise<Playback> {
    const page = await this.context.newPage();
    const ran: string[] = [];
    page.on('dialog', (dialog) => {
      ran.push(`dialog ${dialog.message()}`);
      void dialog.dismiss();
    });
    page.on('popup', () => ran.push('popup'));
    await page.goto('http://player.example/player');
    await page.evaluate(
      "window.addEventListener('message', (e) => { if (e.data === 'ran') window.__pwned = 'frame spoke'; })",
    );
    this.pages.forget();
    const call = `([events, options]) => window.playEvents(events, options)`;
    const warnings: string[] = await page.evaluate(
      `(${call})(${JSON.stringify([events, options]).replaceAll('</', '<\\/')})`,
    );
    await page.evaluate('new Promise((done) => setTimeout(done, 150))');
    const mark: unknown = await page.evaluate(
      "window.__pwned ?? document.querySelector('iframe').contentWindow.__pwned ?? null",
    );
    if (mark !== null) ran.push(String(mark));
    const dom = String(
      await page.evaluate("serialiseDocument(document.querySelector('iframe').contentDocument)"),
    );
    return { dom, warnings, ran, asked: this.pages.asked(), page };
  }

  async close(): Promise<void> {
    const browser = this.context.browser();
    await this.context.close();
    await browser?.close();
    await Promise.all([this.pages.close(), this.backend.close()]);
  }
}
