import { join } from 'node:path';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import Type, { type Static, type TSchema } from 'typebox';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, onTestFailed, test } from 'vitest';
import { Api, type Site } from '../support/api.js';
import { Guard } from '../support/guard.js';
import { Program } from '../support/program.js';
import { until } from '../support/wait.js';
import { type Gate, openGate, servePages } from './tracker-page.js';

const shop = 'http://shop.example';
const userAgent =
  'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36';

const TopPages = Type.Object({
  top_pages: Type.Array(Type.Object({ page: Type.String(), views: Type.Number(), unique: Type.Number() })),
});
const TopReferrers = Type.Object({
  top_referrers: Type.Array(
    Type.Object({ referrer: Type.String(), views: Type.Number(), unique: Type.Number() }),
  ),
});
const TopBrowsers = Type.Object({ top_browsers: Type.Array(Type.Object({ browser: Type.String() })) });
const TopOs = Type.Object({ top_os: Type.Array(Type.Object({ os: Type.String() })) });
const Live = Type.Object({ live_visitors: Type.Number() });

describe('from a page view in a real browser to a number on the dashboard', () => {
  let guard: Guard;
  let program: Program;
  let api: Api;
  let site: Site;
  let gate: Gate;
  let pages: Awaited<ReturnType<typeof servePages>>;
  let context: BrowserContext;
  let browser: Browser | null;

  beforeAll(async () => {
    guard = await Guard.start();
    program = await Program.start(guard, { dataDir: join(guard.directory, 'data') });
    api = await Api.register(() => program.url);
    site = await api.createSite('shop.example');
    gate = await openGate(program.url);
    pages = await servePages({
      websiteId: site.id,
      apiHost: 'http://api.example',
      linkTo: `${shop}/landing?utm_source=Newsletter&utm_medium=email&utm_campaign=spring`,
    });
    context = await chromium.launchPersistentContext(join(guard.directory, 'profile'), {
      executablePath: inject('servers').chromium,
      userAgent,
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
        '--no-first-run',
        `--host-resolver-rules=MAP api.example 127.0.0.1:${gate.port}, MAP *.example 127.0.0.1:${pages.port}`,
      ],
    });
    browser = context.browser();
  });

  beforeEach(() => onTestFailed(() => program.showLog()));

  afterAll(async () => {
    await context?.close();
    await browser?.close();
    await Promise.all([gate?.close(), pages?.close()]);
    await program?.stop();
    await guard?.stop();
  });

  const read = <Schema extends TSchema>(schema: Schema, name: string, query = ''): Promise<Static<Schema>> =>
    api.get(schema, `analytics/${name}/${site.siteId}?days=7${query}`);

  const pageViewsReach = (count: number) =>
    until(async () => (await api.dashboard(site)).page_views >= count, { what: `${count} page views` });

  const started = async (page: Page, path: string) => {
    await page.waitForURL((url) => url.pathname === path);
    await page.waitForFunction('window.testTracker?.config !== undefined && window.testTracker.queued() > 0');
  };

  /** Fills the queue up to the ten events at which the tracker sends it. */
  const clickUntilSent = async (page: Page) => {
    const queued = await page.evaluate('window.testTracker.queued()');
    for (let count = Number(queued); count < 10; count++) await page.click('#buy');
  };

  /** One more page view in the same tab; when it is counted, everything sent before it is. */
  const countedAfter = async (page: Page, path: string, pageViews: number) => {
    await page.evaluate(`history.pushState({}, '', ${JSON.stringify(path)})`);
    await page.evaluate('window.testTracker.flush()');
    await pageViewsReach(pageViews);
    expect((await api.dashboard(site)).page_views).toBe(pageViews);
  };

  test('a visit from a search page is counted with its referrer and campaign', async () => {
    const page = await context.newPage();
    await page.goto('http://www.google.example/');
    await page.click('#result');
    await started(page, '/landing');

    const gets = gate.passed.filter(({ method }) => method === 'GET').map(({ path }) => path);
    expect(gets).toContain(`/api/v1/tracker/config/${site.id}`);
    const preflights = gate.passed.filter(({ method }) => method === 'OPTIONS');
    expect(preflights.length).toBeGreaterThanOrEqual(3);
    for (const { headers } of preflights) expect(headers.origin).toBe(shop);
    expect(await page.evaluate('window.testTracker.config.status')).toBe(200);
    expect(await page.evaluate('window.testTracker.config.body.site_id')).toBe(site.siteId);

    await clickUntilSent(page);
    await until(async () => (await read(Live, 'live-visitors')).live_visitors === 1, {
      what: 'the visitor to be live',
    });
    await pageViewsReach(1);
    const { top_referrers: referrers } = await read(TopReferrers, 'top-referrers');
    expect(referrers).toEqual([expect.objectContaining({ referrer: 'google.example', views: 1, unique: 1 })]);
    const campaign = '&utm_source=newsletter&utm_medium=email&utm_campaign=spring';
    expect((await api.dashboard(site, campaign)).page_views).toBe(1);
    expect((await api.dashboard(site, '&utm_source=other')).page_views).toBe(0);
    expect((await read(TopBrowsers, 'top-browsers')).top_browsers).toMatchObject([{ browser: 'Chrome' }]);
    expect((await read(TopOs, 'top-os')).top_os).toMatchObject([{ os: 'Linux' }]);
    await page.close();
  });

  test('what is left at the unload arrives by beacon', async () => {
    const page = await context.newPage();
    await page.goto(`${shop}/landing`);
    await started(page, '/landing');
    await page.evaluate("history.pushState({}, '', '/features')");
    const before = gate.passed.length;
    await page.click('#pricing');
    await started(page, '/pricing');
    const beacons = () => gate.passed.slice(before).filter(({ method }) => method === 'POST');
    const beacon = await until(() => beacons()[0], { what: 'the beacon' });
    expect(beacon.status).toBeLessThan(300);
    expect(beacon.headers.origin).toBe(shop);
    await pageViewsReach(3);
    const { top_pages: top } = await read(TopPages, 'top-pages');
    expect(top.find(({ page: path }) => path === '/features')).toMatchObject({ views: 1, unique: 1 });
    await page.close({ runBeforeUnload: true });
    await pageViewsReach(4);
  });

  test('P3: a failed batch is repeated until it is answered and counts once', async () => {
    const { page_views: before } = await api.dashboard(site);
    const page = await context.newPage();
    await page.goto(`${shop}/retry`);
    await started(page, '/retry');
    gate.lose(1, 'before');
    await clickUntilSent(page);
    await page.waitForFunction('window.testTracker.saved() > 0');
    await page.waitForFunction('window.testTracker.saved() === 0');
    await pageViewsReach(before + 1);
    await page.evaluate("history.pushState({}, '', '/lost-answer')");
    gate.lose(1, 'after'); // The program takes it, the browser never hears so.
    await clickUntilSent(page);
    await page.waitForFunction('window.testTracker.saved() > 0');
    await page.waitForFunction('window.testTracker.saved() === 0');
    await countedAfter(page, '/after-retry', before + 3);
    await page.close();
  });

  test('P3: events repeated from local storage after the next load count once', async () => {
    const { page_views: before } = await api.dashboard(site);
    const page = await context.newPage();
    await page.goto(`${shop}/stored`);
    await started(page, '/stored');
    const sent = gate.passed.length;
    gate.lose(1, 'after');
    await page.evaluate('window.testTracker.flush()');
    await page.waitForFunction('window.testTracker.saved() > 0');
    await page.goto(`${shop}/next`); // The queue leaves by beacon, local storage keeps its copy.
    await started(page, '/next');
    await clickUntilSent(page);
    await page.waitForFunction('window.testTracker.saved() === 0');
    const posts = gate.passed.slice(sent).filter(({ method }) => method === 'POST');
    expect(posts.filter(({ body }) => body.includes('"page":"/stored"')).length).toBeGreaterThanOrEqual(3);
    await countedAfter(page, '/after-stored', before + 3);
    const { top_pages: top } = await read(TopPages, 'top-pages');
    expect(top.find(({ page: path }) => path === '/stored')).toMatchObject({ views: 1, unique: 1 });
    await page.close();
  });

  test('one browser is one visitor, however many tabs', async () => {
    const { unique_visitors: visitors, total_visitors: sessions } = await api.dashboard(site);
    expect(visitors).toBe(1);
    expect(sessions).toBe(4); // One a tab.
  });
});
