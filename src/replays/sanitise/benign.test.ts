import { describe, expect, it } from 'vitest';
import { Recording, USUAL_PAGE } from '../../../bench/support/recording.js';
import {
  chunkOf,
  el,
  eventsOf,
  incremental,
  snapshot,
  text,
  upload,
} from '../../../test/support/recorded.js';
import { POLICY } from './policy.js';

/** The same JSON without the policy, and with scripts as the player builds them. */
function asSent(events: unknown): unknown {
  return JSON.parse(JSON.stringify(events), (_, value: unknown) => {
    if (!Array.isArray(value)) return value;
    return value.filter(
      (entry) => !JSON.stringify(entry).startsWith('{"type":2,"tagName":"meta","attributes":{"http-equiv"'),
    );
  });
}

describe('an honest recording', () => {
  it('comes out as it went in, but for its scripts', () => {
    const recording = new Recording(5, { ...USUAL_PAGE, cards: 12 }, 1_700_000_000_000);
    const sent = [...recording.first(), ...recording.later(1_000, 30)];
    const expected = JSON.stringify(sent)
      .replace(
        '"tagName":"script","attributes":{"src":"","defer":""}',
        '"tagName":"noscript","attributes":{}',
      )
      .replace('SCRIPT_PLACEHOLDER', '');
    const chunk = chunkOf(upload(sent));
    expect(JSON.stringify(eventsOf(chunk))).toContain(POLICY);
    expect(asSent(eventsOf(chunk))).toEqual(JSON.parse(expected));
    expect(chunk.removed).toBe(1);
  });

  it('keeps everything that changes, styles and selections included', () => {
    const sent = [
      snapshot([
        el(
          9,
          'svg',
          { viewBox: '0 0 9 9', 'xmlns:xlink': 'http://www.w3.org/1999/xlink' },
          [
            el(
              10,
              'lineargradient',
              { id: 'g' },
              [el(11, 'stop', { offset: '1', 'stop-color': 'red' }, [], { isSVG: true })],
              {
                isSVG: true,
              },
            ),
            el(12, 'use', { 'xlink:href': '#g' }, [], { isSVG: true }),
          ],
          { isSVG: true },
        ),
        el(13, 'img', { srcset: 'https://shop.example/a.png 1x, https://shop.example/b.png 2x', alt: '' }),
        el(14, 'video', {
          src: 'https://shop.example/v.mp4',
          rr_mediaState: 'paused',
          rr_mediaVolume: 0.5,
          rr_mediaMuted: true,
        }),
        el(15, 'dialog', { open: '', rr_open_mode: 'modal' }, [text(16, 'x')]),
        el(17, 'canvas', { rr_dataURL: 'data:image/png;base64,AAAA', rr_width: '12.5px' }),
        el(18, 'input', { type: 'checkbox', checked: true, value: 'weekly' }),
      ]),
      incremental({
        source: 0,
        texts: [{ id: 16, value: 'y' }],
        attributes: [{ id: 13, attributes: { src: 'data:image/svg+xml,%3Csvg/%3E', class: null } }],
        removes: [{ parentId: 5, id: 9, isShadow: true }],
        adds: [],
      }),
      incremental({
        source: 0,
        texts: [],
        attributes: [],
        removes: [],
        adds: [{ parentId: 14, nextId: null, node: { type: 0, childNodes: [], id: 40 } }],
        isAttachIframe: true,
      }),
      incremental({ source: 2, type: 2, id: 9, x: 1, y: 2, pointerType: 0 }),
      incremental({ source: 3, id: 1, x: 0, y: 12.5 }),
      incremental({ source: 4, width: 10, height: 20 }),
      incremental({ source: 5, text: '***', isChecked: false, id: 99, userTriggered: true }),
      incremental({ source: 6, positions: [{ x: 1, y: 2, id: 9, timeOffset: -20 }] }),
      incremental({
        source: 7,
        type: 0,
        id: 14,
        currentTime: 1.5,
        playbackRate: 1,
        volume: 1,
        muted: false,
        loop: true,
      }),
      incremental({
        source: 8,
        id: 9,
        adds: [{ rule: 'a{color:red}', index: [0, 1] }],
        removes: [{ index: 2 }],
      }),
      incremental({
        source: 13,
        styleId: 1,
        index: [0],
        set: { property: 'color', value: 'red', priority: 'important' },
      }),
      incremental({ source: 14, ranges: [{ start: 16, startOffset: 0, end: 16, endOffset: 1 }] }),
      incremental({
        source: 15,
        id: 9,
        styleIds: [1],
        styles: [{ styleId: 1, rules: [{ rule: 'b{}', index: 0 }] }],
      }),
      incremental({ source: 16, define: { name: 'x-card' } }),
      {
        type: 5,
        data: { tag: 'paid', payload: { sum: [1, null, { deep: true }] } },
        timestamp: 1_700_000_000_009,
      },
      {
        type: 6,
        data: { plugin: 'rrweb/console@1', payload: { level: 'warn', trace: [], payload: ['"x"'] } },
        timestamp: 1_700_000_000_009,
      },
    ];
    const chunk = chunkOf(upload(sent));
    expect(asSent(eventsOf(chunk))).toEqual(JSON.parse(JSON.stringify(sent)));
    expect(chunk.removed).toBe(0);
  });
});
