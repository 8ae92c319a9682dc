import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { forbidden } from '../../../test/support/forbidden-in-recordings.js';
import {
  bytes,
  chunkOf,
  eventsOf,
  incremental,
  meta,
  snapshot,
  T,
  upload,
} from '../../../test/support/recorded.js';
import { CHUNK_LIMITS } from '../chunk.js';
import { sanitiseChunk } from './sanitise.js';

describe('whatever comes', () => {
  const hostileValue = fc.oneof(
    fc.constantFrom(
      ...[
        'javascript:pwn()',
        ' javascript\t:x',
        'data:text/html,x',
        'https://a.example/',
        '0;url=javascript:x',
        'text/html',
      ],
      ...[
        'refresh',
        'x:expression(1)',
        '\\65xpression(1)',
        'url(javascript:1)',
        'appendChild',
        '#a',
        'password',
        'stylesheet',
      ],
    ),
    fc.string({ maxLength: 30 }),
    fc.double(),
    fc.boolean(),
    fc.constant(null),
    fc.dictionary(fc.string({ maxLength: 8 }), fc.string({ maxLength: 8 }), { maxKeys: 3 }),
  );
  const name = fc.oneof(
    fc.constantFrom(
      ...[
        'href',
        'HREF',
        'src',
        'xlink:href',
        'srcdoc',
        'onload',
        'OnClick',
        'style',
        'action',
        'formaction',
        'http-equiv',
        'content',
      ],
      ...[
        'srcset',
        'data',
        'poster',
        'name',
        'id',
        'rel',
        'value',
        'type',
        'attributeName',
        'values',
        '_cssText',
        'rr_dataURL',
        'rr_src',
      ],
      ...['ping', 'is', 'to', '__proto__', 'rr_mediaState', 'background', 'fo:href', 'code'],
    ),
    fc.string({ maxLength: 12 }),
  );
  const attributes = fc.dictionary(name, hostileValue, { maxKeys: 6 });
  const tag = fc.oneof(
    fc.constantFrom(
      ...[
        'script',
        'SCRIPT',
        'iframe',
        'object',
        'embed',
        'base',
        'meta',
        'link',
        'svg',
        'use',
        'a',
        'form',
        'input',
        'html',
        'head',
      ],
      ...[
        'frame',
        'animate',
        'set',
        'style',
        'template',
        'img',
        'x-a',
        'portal',
        'body',
        'textarea',
        'video',
      ],
    ),
    fc.string({ maxLength: 8 }),
  );
  const { node } = fc.letrec((tie) => ({
    node: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      fc.record({ type: fc.constant(3), textContent: hostileValue, id: fc.nat(40), isStyle: fc.boolean() }),
      fc.record({
        type: fc.constantFrom(2, 2, 2, 2, 0, 1, 4, 5, 9),
        tagName: tag,
        attributes,
        childNodes: fc.array(tie('node'), { maxLength: 4 }),
        id: fc.nat(40),
        isSVG: fc.boolean(),
        isShadow: fc.boolean(),
        isShadowHost: fc.boolean(),
        textContent: hostileValue,
      }),
    ),
  }));
  const timestamp = fc.constantFrom(T, T + 5);
  const snapshotData = fc.oneof(
    fc.array(node, { maxLength: 4 }).map((nodes) => snapshot(nodes).data),
    fc.record({
      node: fc.record({
        type: fc.constant(0),
        id: fc.constant(1),
        childNodes: fc.array(node, { maxLength: 3 }),
      }),
    }),
  );
  const changes = fc.oneof(
    fc.record({
      source: fc.constant(0),
      adds: fc.array(fc.record({ parentId: fc.nat(40), nextId: fc.nat(40), node }), { maxLength: 3 }),
      attributes: fc.array(fc.record({ id: fc.nat(40), attributes }), { maxLength: 3 }),
      texts: fc.array(fc.record({ id: fc.nat(40), value: hostileValue }), { maxLength: 2 }),
      removes: fc.array(fc.anything(), { maxLength: 2 }),
    }),
    fc.dictionary(
      fc.constantFrom('source', 'id', 'type', 'adds', 'commands', 'property', 'args', 'text', 'rule', 'set'),
      hostileValue,
    ),
  );
  const events = fc.array(
    fc.oneof(
      fc.record({ type: fc.constant(2), data: snapshotData, timestamp }),
      fc.record({ type: fc.constant(3), data: changes, timestamp }),
      fc.record({ type: fc.nat(8), data: fc.oneof(snapshotData, changes, fc.anything()), timestamp }),
    ),
    { maxLength: 5 },
  );
  const seeded = { seed: 20_260, numRuns: 1_000 };

  it('nothing that runs, loads a frame or sends a form is left, and a second pass changes nothing', () => {
    let remaining = 0;
    fc.assert(
      fc.property(events, (sent) => {
        const first = chunkOf(upload([meta, ...sent]));
        remaining += first.count - 1;
        const kept = eventsOf(first);
        expect(forbidden(kept)).toEqual([]);
        expect(eventsOf(chunkOf(upload(kept)))).toEqual(kept);
      }),
      seeded,
    );
    expect(remaining).toBeGreaterThan(500); // Else the property would hold because nothing is left.
  });

  it('junk never throws', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), fc.uint8Array({ maxLength: 64 }), (text_, raw) => {
        sanitiseChunk(bytes(text_), CHUNK_LIMITS);
        sanitiseChunk(raw, CHUNK_LIMITS);
        sanitiseChunk(
          bytes(
            `{"website_id":"w","session_id":"s","events":[{"type":3,"timestamp":1,"data":${JSON.stringify(text_)}}]}`,
          ),
          CHUNK_LIMITS,
        );
      }),
      { seed: 7, numRuns: 500 },
    );
  });

  it.each([
    ['escapes in CSS', () => '\\41 '.repeat(300_000)],
    ['open comments in CSS', () => '/*'.repeat(500_000)],
    ['half words in CSS', () => 'url('.repeat(250_000)],
    ['spaces in CSS', () => `@import${' '.repeat(1_000_000)}`],
  ])('a megabyte of %s takes linear time', (_, css) => {
    const started = performance.now();
    chunkOf(
      upload([
        incremental({ source: 8, id: 1, replace: css() }),
        incremental({
          source: 0,
          attributes: [{ id: 1, attributes: { href: css(), srcset: css(), values: css(), rel: css() } }],
        }),
      ]),
    );
    expect(performance.now() - started).toBeLessThan(3_000);
  });
});
