/** Recordings of real pages, sent as the tracker sends them and played by rrweb. The same for every backend. */
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, inject, test } from 'vitest';
import type { Guard } from '../../support/guard.js';
import { hostileUploads, snapshotOf } from './hostile-events.js';
import { type Backend, Stage } from './stage.js';

/** Requests that a replay may make: pictures, films and styles, as rrweb does. */
const HARMLESS = /^\/(image\.gif|style\.css|none\.mp4)$/;

/** Registers the tests. */
export function replayScenarios(open: (guard: Guard) => Promise<Backend>, start: () => Promise<Guard>): void {
  let guard: Guard;
  let stage: Stage;
  let backend: Backend;

  beforeAll(async () => {
    guard = await start();
    backend = await open(guard);
    stage = await Stage.open(backend, {
      profile: join(guard.directory, 'profile'),
      chromium: inject('servers').chromium,
    });
  });
  afterEach(async () => {
    stage.use({});
    for (const page of stage.context.pages().slice(1)) await page.close();
  });
  afterAll(async () => {
    await stage?.close();
    await guard?.stop();
  });

  /** Plays the session of a page and compares its last state. */
  const expectSameDom = async (page: Page, options: { canvas?: boolean; sync?: boolean } = {}) => {
    const recorded = await stage.recordedDom(page);
    const events = await backend.eventsOf(await stage.sessionOf(page));
    const played = await stage.play(events, options);
    expect(played.dom).toBe(recorded);
    expect(played.ran).toEqual([]);
    return { ...played, events };
  };

  test('a form is played as it was filled in, and nothing that was typed is in it', async () => {
    const page = await stage.visit('/forms');
    await page.type('#name', 'Ada Lovelace');
    await page.type('#password', 'correct horse');
    await page.type('#card', '4111111111111111');
    await page.type('#note', 'please ring');
    await page.selectOption('#size', 's');
    await page.check('#gift');
    await page.check('#cash');
    await page.evaluate(
      "document.querySelector('progress').value = 60; document.querySelector('p').style.color = 'green'",
    );
    const { events, page: player } = await expectSameDom(page);
    expect(JSON.stringify(events)).not.toMatch(/Ada|correct|41111|please/);
    const typed =
      "[...document.querySelector('iframe').contentDocument.querySelectorAll('#name, #password, #card, #note')]";
    expect(await player.evaluate(`${typed}.map((input) => input.value)`)).toEqual(
      [18, 13, 16, 24].map((length) => '*'.repeat(length)),
    );
  });

  test('what a recorder does not mask is masked all the same', async () => {
    stage.use({ options: { maskAllInputs: false, maskInputOptions: {} } });
    const page = await stage.visit('/forms');
    await page.type('#name', 'Ada Lovelace');
    await page.type('#password', 'correct horse');
    await page.type('#card', '4111111111111111');
    // The chunk with the snapshot is away by now: nothing tells which input this is.
    await page.evaluate('testRecorder.flush()');
    await page.type('#card', '222');
    await page.evaluate("document.getElementById('card').setAttribute('value', '4000 1234')");
    await stage.recordedDom(page);
    const uploads = backend.uploads().join('\n');
    expect(uploads).toContain('4111111111111111');
    const events = JSON.stringify(await backend.eventsOf(await stage.sessionOf(page)));
    expect(events.match(/.{0,80}(?:Ada|correct|41111|4000 1234|preset|from the page).{0,40}/g)).toBeNull();
  });

  test('a canvas is drawn again', async () => {
    stage.use({ options: { recordCanvas: true } });
    const page = await stage.visit('/canvas');
    await page.evaluate("draw('later', 'rgb(200, 0, 0)')");
    const pixels = (id: string) => `document.getElementById('${id}').toDataURL()`;
    const drawn = await Promise.all(['chart', 'later'].map((id) => page.evaluate(pixels(id))));
    const { page: player } = await expectSameDom(page, { canvas: true });
    for (const [index, id] of ['chart', 'later'].entries()) {
      const played = `document.querySelector('iframe').contentDocument.getElementById('${id}').toDataURL()`;
      await player.waitForFunction(`${played} === ${JSON.stringify(drawn[index])}`, undefined, {
        timeout: 5_000,
      });
    }
  });

  test('a frame of the same origin is played from the recording, another is not loaded', async () => {
    const page = await stage.visit('/frames');
    await page.frameLocator('#inner').locator('button').waitFor();
    await page.waitForFunction('testRecorder.attached() === 2');
    await page.evaluate(
      "document.getElementById('inner').contentDocument.getElementById('said').textContent = 'changed inside'",
    );
    const { asked, dom } = await expectSameDom(page);
    expect(dom).toContain('"changed inside"');
    expect(dom).toContain('"written"');
    expect(asked).toEqual([]);
  });

  test('shadow roots are played, with their styles', async () => {
    const page = await stage.visit('/shadow');
    await page.evaluate(
      "document.querySelector('x-card').shadowRoot.querySelector('b').textContent = 'changed in the shadow'; document.getElementById('host').shadowRoot.querySelector('i').after(document.createElement('hr'))",
    );
    const { dom, page: player } = await expectSameDom(page);
    expect(dom).toContain('"deep"');
    const colour =
      "getComputedStyle(document.querySelector('iframe').contentDocument.querySelector('x-card').shadowRoot.querySelector('b')).color";
    await player.waitForFunction(`${colour} === 'rgb(9, 8, 7)'`, undefined, { timeout: 5_000 });
  });

  const goTo = async (page: Page, link: string) => {
    await Promise.all([page.waitForNavigation(), page.click(link)]);
    await stage.started(page);
  };

  test('three page loads of one visit are played through, though the tracker repeats numbers at unload', async () => {
    const page = await stage.visit('/spa/a');
    for (const link of ['#b', '#c']) {
      await page.evaluate("show('inner-1'); show('inner-2')");
      await goTo(page, link);
    }
    await page.evaluate("show('last')");
    const { dom, events, page: player } = await expectSameDom(page);
    expect(dom).toContain('"last"');
    const session = await stage.sessionOf(page);
    const numbers = backend
      .uploads()
      .filter((body) => body.includes(session))
      .map((body) => JSON.parse(body).sequence);
    expect(new Set(numbers).size).toBeLessThan(numbers.length);
    expect(JSON.stringify(events)).toContain('/spa/b');
    const colour =
      "getComputedStyle(document.querySelector('iframe').contentDocument.querySelector('.price')).color";
    expect(await player.evaluate(colour)).toBe('rgb(1, 2, 3)');
  });

  test('chunks that come out of order, and twice, are played in order and once', async () => {
    stage.use({ held: true });
    const page = await stage.visit('/spa/a');
    for (const name of ['one', 'two', 'three']) await page.evaluate(`show('${name}'); testRecorder.flush()`);
    const recorded = await stage.recordedDom(page);
    await page.waitForFunction('testRecorder.sent.length >= 4 && testRecorder.waiting() === 0');
    const bodies: string[] = await page.evaluate('testRecorder.sent');
    const shuffled = [bodies[2], bodies[0], ...bodies.slice(3), bodies[1], bodies[0]];
    for (const body of shuffled) if (body !== undefined) expect(await backend.post(body)).toBe(200);
    const sent = bodies.flatMap((body): { timestamp: number }[] => JSON.parse(body).events);
    const events = await backend.eventsOf(await stage.sessionOf(page));
    expect(JSON.stringify(events).match(/"timestamp":\d+/g)).toEqual(
      sent.map(({ timestamp }) => `"timestamp":${timestamp}`),
    );
    const played = await stage.play(events);
    expect(played.dom).toBe(recorded);
  });

  test('a visit whose first chunk was lost is played from its next page on', async () => {
    stage.use({ held: true });
    const page = await stage.visit('/spa/a');
    await page.evaluate("show('lost')");
    stage.use({});
    await goTo(page, '#b');
    await page.evaluate("show('found')");
    const { dom } = await expectSameDom(page);
    expect(dom).toContain('"found"');
    expect((await backend.isIncomplete(await stage.sessionOf(page))) ?? true).toBe(true);
  });

  test('of a hostile page nothing runs, and no frame, object or form is asked for', async () => {
    const page = await stage.visit('/hostile');
    expect(stage.pages.asked()).toContain('/script.js');
    await page.waitForFunction('window.__pwned !== undefined');
    await stage.recordedDom(page);
    const events = await backend.eventsOf(await stage.sessionOf(page));
    for (const sync of [true, false]) {
      const played = await stage.play(events, { canvas: true, sync });
      await provoke(played.page);
      expect(played.ran).toEqual([]);
      expect(stage.pages.asked().filter((path) => !HARMLESS.test(path))).toEqual([]);
      expect(played.dom).toContain('"Sale"');
      expect(played.dom).toContain('href=http://shop.example/fine');
      expect(played.dom).toContain('src=http://canary.example/image.gif');
    }
  });

  test('of events made by hand nothing runs, whatever chunk they come in', async () => {
    const session = crypto.randomUUID();
    const uploads = hostileUploads(backend.site, session);
    for (const body of uploads) expect(await backend.post(body)).toBe(200);
    const events = await backend.eventsOf(session);
    for (const sync of [true, false]) {
      const played = await stage.play(events, { canvas: true, sync });
      await provoke(played.page);
      expect(played.ran).toEqual([]);
      expect(stage.pages.asked().filter((path) => !HARMLESS.test(path))).toEqual([]);
      expect(played.dom).toContain('"good neighbour"');
    }
  });

  test('the same events as they were sent do run: this stage would notice', async () => {
    const played = await stage.play(snapshotOf('http://canary.example/frame'), { canvas: true });
    expect(played.ran.length).toBeGreaterThan(0);
    expect(stage.pages.asked()).toContain('/frame');
  });

  /** What a curious viewer might do: follow every link that is none of the web, submit every form. */
  const provoke = async (player: Page) => {
    await player.evaluate(`(() => {
      const document_ = document.querySelector('iframe').contentDocument;
      for (const link of document_.querySelectorAll('a, area')) {
        const href = link.getAttribute('href') ?? link.getAttribute('xlink:href') ?? '';
        if (!/^https?:/.test(href)) link.dispatchEvent(new MouseEvent('click', { bubbles: true, cancelable: true }));
      }
      for (const form of document_.querySelectorAll('form')) HTMLFormElement.prototype.submit.call(form);
      for (const button of document_.querySelectorAll('button, input[type=submit]')) button.click();
    })()`);
    await player.evaluate('new Promise((done) => setTimeout(done, 150))');
    const mark = await player.evaluate(
      "window.__pwned ?? document.querySelector('iframe').contentWindow.__pwned ?? null",
    );
    expect(mark).toBeNull();
  };
}
