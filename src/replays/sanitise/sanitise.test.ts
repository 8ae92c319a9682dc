import { describe, expect, it } from 'vitest';
import {
  bytes,
  chunkOf,
  el,
  eventsOf,
  incremental,
  meta,
  refusalOf,
  snapshot,
  T,
  text,
  upload,
} from '../../../test/support/recorded.js';
import { CHUNK_LIMITS } from '../chunk.js';
import { POLICY } from './policy.js';
import { DEPTH_LIMIT } from './scrub.js';

/** What becomes of one element in the body. */
function played(element: unknown): Record<string, unknown> {
  const [event] = JSON.parse(Buffer.from(chunkOf(upload([snapshot([element])])).events).toString());
  return event.data.node.childNodes[1].childNodes[1].childNodes[0];
}

/** What becomes of an attribute changed on an element that another chunk holds. */
function changed(attributes: object): unknown {
  const mutation = { source: 0, texts: [], attributes: [{ id: 9, attributes }], removes: [], adds: [] };
  const [event] = JSON.parse(Buffer.from(chunkOf(upload([incremental(mutation)])).events).toString());
  return event.data.attributes[0].attributes;
}

describe('an upload', () => {
  it('is taken with the facts of its visit', () => {
    const click = (id: number, at: number) => incremental({ source: 2, type: 2, id, x: 1, y: 1 }, T + at);
    const chunk = chunkOf(
      upload(
        [
          meta,
          snapshot([]),
          ...[100, 400, 900, 1_050, 5_000].map((at) => click(5, at)),
          ...[10_000, 10_900].map((at) => click(4, at)),
          {
            type: 6,
            data: { plugin: 'rrweb/console@1', payload: { level: 'error', payload: [] } },
            timestamp: T + 20,
          },
          { type: 6, data: { plugin: 'rrweb/console@1', payload: { level: 'log' } }, timestamp: T + 21 },
          { type: 5, data: { tag: 'js_error', payload: {} }, timestamp: T + 22 },
        ],
        { sequence: 7, page: '/shop/?q=1' },
      ),
    );
    expect(chunk).toMatchObject({
      ...{ websiteId: 'w', sessionId: 's', sequence: 7, page: '/shop', count: 12, hasFullSnapshot: true },
      ...{ firstMs: T, lastMs: T + 10_900, clicks: 7, rageClicks: 4, errors: 2, removed: 0 },
    });
  });

  it('of other JSON, without what it needs, or too large is refused by code', () => {
    expect(refusalOf(bytes('{'))).toBe('invalid_json');
    expect(refusalOf(bytes('[]'))).toBe('invalid_json');
    expect(refusalOf(upload([meta], { session_id: '' }))).toBe('invalid_request');
    expect(refusalOf(upload([meta], { session_id: 'a\nb' }))).toBe('invalid_request');
    expect(refusalOf(upload([meta], { session_id: 'x'.repeat(256) }))).toBe('invalid_request');
    expect(refusalOf(upload([meta], { sequence: 1.5 }))).toBe('invalid_request');
    expect(refusalOf(upload('no list'))).toBe('invalid_request');
    expect(refusalOf(upload([]))).toBe('invalid_request');
    expect(refusalOf(upload([{ type: 99, timestamp: T }]))).toBe('invalid_request');
    expect(refusalOf(upload(Array(CHUNK_LIMITS.events + 1).fill(meta)))).toBe('batch_too_large');
    expect(refusalOf(upload([meta], { sequence: null, page: null }))).toBe('taken');
  });

  it('loses what is no event, one by one', () => {
    const bad = [
      null,
      7,
      'packed',
      [],
      {},
      { type: 3, data: {}, timestamp: T },
      { ...meta, timestamp: 'now' },
    ];
    const chunk = chunkOf(upload([...bad, meta, incremental({ source: 1, positions: [] })]));
    expect(eventsOf(chunk)).toEqual([meta]);
    expect(chunk.removed).toBe(bad.length + 1);
  });
});

describe('a snapshot', () => {
  it('loses scripts, handlers, objects, base, refreshes and foreign frames', () => {
    expect(played(el(9, 'SCRIPT', { src: 'https://evil.example/x.js' }, [text(10, 'pwn()')]))).toEqual(
      el(9, 'noscript', {}, [text(10, '')]),
    );
    expect(played(el(9, 'object', { data: 'https://evil.example/' }))).toEqual(el(9, 'span'));
    expect(played(el(9, 'base', { href: 'https://evil.example/' }))).toMatchObject({ tagName: 'noscript' });
    expect(played(el(9, 'frame', { src: 'https://evil.example/' }))).toMatchObject({ tagName: 'span' });
    expect(played(el(9, 'img', { src: 'x', ONERROR: 'pwn()', ' onload': 'x', alt: 'a' })).attributes).toEqual(
      { alt: 'a' },
    );
    expect(
      played(el(9, 'meta', { 'http-equiv': 'Refresh', content: '0;url=https://evil.example' })).attributes,
    ).toEqual({
      content: '0;url=https://evil.example',
    });
    expect(
      played(el(9, 'iframe', { src: 'https://evil.example/', srcdoc: '<script>', width: '9' })).attributes,
    ).toEqual({
      width: '9',
      rr_src: 'https://evil.example/',
    });
    expect(played(el(9, 'form', { action: 'https://evil.example', class: 'a' })).attributes).toEqual({
      class: 'a',
    });
    expect(
      played(el(9, 'link', { rel: 'modulepreload', href: 'https://evil.example/m.js' })).attributes,
    ).toEqual({
      href: 'https://evil.example/m.js',
    });
  });

  it.each([
    'javascript:pwn()',
    ' \t\njAvA\nScRiPt:pwn()',
    '\u0001javascript:pwn()',
    'java&#115;cript&colon;pwn()',
    'java&#x73;cript:pwn()',
    'vbscript:pwn()',
    'data:text/html,<script>pwn()</script>',
    'data:image/svg+xml,<svg onload="pwn()"/>',
    'blob:https://shop.example/1',
    'file:///etc/passwd',
    'about:srcdoc',
    '/api/v1/user',
    '//evil.example/x',
  ])('keeps no link to %j', (href) => {
    expect(played(el(9, 'a', { href })).attributes).toEqual({});
    expect(played(el(9, 'a', { 'xlink:href': href }, [], { isSVG: true })).attributes).toEqual({});
    expect(changed({ href })).toEqual({});
  });

  it.each([
    'https://shop.example/a?b=1#c',
    'http://shop.example',
    'mailto:a@shop.example',
    '#top',
    '',
    'HTTPS://X',
  ])('keeps the link %j', (href) => expect(played(el(9, 'a', { href })).attributes).toEqual({ href }));

  it('carries its own policy, and no other', () => {
    const recorded = el(6, 'meta', { 'http-equiv': 'content-security-policy', content: 'img-src none' });
    const [event] = JSON.parse(Buffer.from(chunkOf(upload([snapshot([], [recorded])])).events).toString());
    const [policy, other] = event.data.node.childNodes[1].childNodes[0].childNodes;
    expect(policy).toMatchObject({
      tagName: 'meta',
      attributes: { 'http-equiv': 'content-security-policy', content: POLICY },
    });
    expect(other.attributes).toEqual({ content: 'img-src none' });
  });

  it('without a root to carry the policy is dropped', () => {
    const bare = {
      ...snapshot([]),
      data: { node: { type: 0, childNodes: [el(2, 'svg', {}, [], { isSVG: true })], id: 1 } },
    };
    expect(refusalOf(upload([bare]))).toBe('invalid_request');
  });

  it('carries the policy before anything else of the page', () => {
    const html = el(3, 'html', {}, [el(8, 'iframe'), el(4, 'head')]);
    const odd = { ...snapshot([]), data: { node: { type: 0, childNodes: [html], id: 1 } } };
    const [event] = JSON.parse(Buffer.from(chunkOf(upload([odd])).events).toString());
    expect(event.data.node.childNodes[0].childNodes[0]).toMatchObject({
      tagName: 'head',
      childNodes: [{ tagName: 'meta' }],
    });
  });

  it('keeps what styles select: scoped attributes, unknown names with plain values', () => {
    const attributes = {
      '_ngcontent-abc-1': '',
      'data-x': 'javascript:1',
      variant: 'primary',
      'v-on:click': 'go',
      viewBox: '0 0 1 1',
    };
    expect(played(el(9, 'x-button', attributes, [], { isCustom: true }))).toEqual(
      el(9, 'x-button', attributes, [], { isCustom: true }),
    );
    expect(played(el(9, 'div', { launch: 'https://evil.example' })).attributes).toEqual({});
  });

  it('masks what was typed, whatever the client sent', () => {
    const value = (attributes: object, tag = 'input') =>
      played(el(9, tag, { ...attributes, value: 'secret' })).attributes;
    expect(value({ type: 'password' })).toEqual({ type: 'password', value: '******' });
    expect(value({ type: 'text', autocomplete: 'cc-number' })).toMatchObject({ value: '******' });
    expect(value({ type: 'checkbox', autocomplete: 'cc-number' })).toMatchObject({ value: '******' });
    expect(value({ type: 'button', 'data-rr-is-password': 'true' })).toMatchObject({ value: '******' });
    expect(value({}, 'textarea')).toEqual({ value: '******' });
    expect(value({ type: 'submit' })).toMatchObject({ value: 'secret' });
    expect(changed({ value: '4111 1111' })).toEqual({ value: '*********' });
    expect(changed({ value: '75' })).toEqual({ value: '75' });
    const typed = (events: unknown[]) => JSON.stringify(eventsOf(chunkOf(upload(events))));
    expect(typed([incremental({ source: 5, id: 9, text: 'secret', isChecked: false })])).toContain(
      '"******"',
    );
    const box = snapshot([el(9, 'input', { type: 'checkbox', value: 'weekly' })]);
    expect(typed([box, incremental({ source: 5, id: 9, text: 'weekly', isChecked: false })])).toContain(
      '"text":"weekly"',
    );
  });

  it('is cut where it is deeper than any page', () => {
    let deep: unknown = text(10_000, 'x');
    for (let id = 9_000; id > 9_000 - 2 * DEPTH_LIMIT; id--) deep = el(id, 'div', {}, [deep]);
    expect(JSON.stringify(eventsOf(chunkOf(upload([snapshot([deep])])))).match(/"div"/g)).toHaveLength(
      DEPTH_LIMIT - 2,
    );
  });

  it('is not changed by keys that mean something to objects', () => {
    const body = `{"website_id":"w","session_id":"s","__proto__":{"events":1},"events":[{"type":5,"timestamp":${T},"data":{"tag":"a","payload":{"__proto__":{"x":1},"constructor":2}}},{"type":3,"timestamp":${T},"data":{"source":0,"attributes":[{"id":1,"attributes":{"__proto__":"x","constructor":"y"}}]}}]}`;
    const events = JSON.stringify(eventsOf(chunkOf(bytes(body))));
    expect(events).toContain('"payload":{"constructor":2}');
    expect(events).not.toContain('__proto__');
    expect(Object.prototype).not.toHaveProperty('x');
  });
});

describe('a change', () => {
  it('gives a frame of the same chunk no address', () => {
    const mutation = { source: 0, attributes: [{ id: 9, attributes: { src: 'https://evil.example/' } }] };
    const [, event] = JSON.parse(
      Buffer.from(chunkOf(upload([snapshot([el(9, 'iframe')]), incremental(mutation)])).events).toString(),
    );
    expect(event.data.attributes).toEqual([{ id: 9, attributes: { rr_src: 'https://evil.example/' } }]);
  });

  it('of styles loses what once ran', () => {
    const styled = (css: string) => changed({ style: css });
    expect(styled('width: expression(pwn())')).toEqual({ style: 'width: removed(pwn())' });
    expect(styled('w:exp/**/ress\\69on(x)')).toEqual({ style: 'w:removed(x)' });
    expect(styled('background:url( "javascript:pwn()")')).toEqual({
      style: 'background:url( "removed:pwn()")',
    });
    expect(styled('-moz-binding:url(x)')).toEqual({ style: '-removed:url(x)' });
    const fine =
      '.language-javascript:hover{scroll-behavior:smooth;content:"\\e901"}/* expression */.expression{}';
    expect(styled(fine)).toEqual({ style: fine });
    expect(
      changed({ style: { color: 'red', width: ['1px', 'important'], behavior: 'url(x)', top: false } }),
    ).toEqual({
      style: { color: 'red', width: ['1px', 'important'], behavior: '', top: false },
    });
  });

  it('of a canvas only draws', () => {
    const commands = [
      { property: 'fillRect', args: [0, 0, 5, 5] },
      { property: 'fillStyle', args: ['red'], setter: true },
      {
        property: 'drawImage',
        args: [
          {
            rr_type: 'ImageBitmap',
            args: [
              { rr_type: 'Blob', data: [{ rr_type: 'ArrayBuffer', base64: 'AA==' }], type: 'image/png' },
            ],
          },
          0,
          0,
        ],
      },
      { property: 'constructor', args: [] },
      { property: '__defineGetter__', args: ['x', 'y'] },
      { property: 'fillRect', args: [{ rr_type: 'Function', args: ['pwn()'] }] },
      { property: 'fillRect', args: [{ rr_type: 'Worker', args: ['https://evil.example/w.js'] }] },
      { property: 'drawImage', args: [{ rr_type: 'HTMLImageElement', src: 'javascript:pwn()' }] },
      { property: 'canvas', args: ['x'], setter: true },
      { property: 'fillRect', args: ['x'], setter: true },
    ];
    const chunk = chunkOf(upload([incremental({ source: 9, id: 9, type: 0, commands })]));
    expect(eventsOf(chunk)).toMatchObject([{ data: { commands: commands.slice(0, 3) } }]);
    expect(JSON.stringify(eventsOf(chunk))).not.toContain('pwn');
    expect(chunk.removed).toBe(7);
    const webgl = [
      { property: 'drawArrays', args: [4, 0, 3] },
      { property: '__lookupGetter__', args: ['x'] },
    ];
    expect(
      eventsOf(chunkOf(upload([incremental({ source: 9, id: 9, type: 2, commands: webgl })]))),
    ).toMatchObject([{ data: { commands: webgl.slice(0, 1) } }]);
  });

  it('of fonts loads them from the web or from bytes', () => {
    const font = (fontSource: string, buffer = false) =>
      refusalOf(upload([incremental({ source: 10, family: 'A', fontSource, buffer })]));
    expect(font('url(https://shop.example/a.woff2)')).toBe('taken');
    expect(font('[1,2,3]', true)).toBe('taken');
    expect(font('url(/a.woff2)')).toBe('invalid_request');
    expect(font('url(javascript:pwn())')).toBe('invalid_request');
    expect(font('pwn()', true)).toBe('invalid_request');
  });
});
