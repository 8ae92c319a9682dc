/** Events that no recorder makes. */

const T = 1_700_000_000_000;
const CANARY = 'http://canary.example';

type Node = Readonly<Record<string, unknown>>;
const el = (
  id: number,
  tagName: string,
  attributes: object = {},
  childNodes: readonly Node[] = [],
  more: object = {},
): Node => ({
  type: 2,
  tagName,
  attributes,
  childNodes,
  id,
  ...more,
});
const text = (id: number, textContent: string): Node => ({ type: 3, textContent, id });
const run = (mark: string) => `top.__pwned='${mark}';parent.__pwned='${mark}'`;

const head = [
  el(10, 'SCRIPT', {}, [text(11, run('script'))]),
  el(12, 'Script', { src: `${CANARY}/script.js` }),
  el(13, 'meta', { 'HTTP-EQUIV': 'refresh', content: `0;url=${CANARY}/refresh` }),
  el(14, 'link', { rel: 'modulepreload', href: `${CANARY}/preload.js` }),
  el(15, 'link', { rel: 'prerender prefetch', href: `${CANARY}/prefetch` }),
  el(17, 'style', { _cssText: 'p { color: red }' }),
  el(16, 'base', { href: `${CANARY}/` }),
];
const body = [
  el(20, 'p', {}, [text(21, 'good neighbour')]),
  el(22, 'iframe', { src: `${CANARY}/frame` }),
  el(23, 'iframe', { srcdoc: `<script>${run('srcdoc')}</script>` }),
  el(24, 'IFRAME', { SRC: `javascript:${run('iframe')}` }),
  el(25, 'iframe', {}),
  el(26, 'img', { src: 'http://shop.example/missing.gif', OnError: run('onerror') }),
  el(27, 'img', { src: `${CANARY}/image.gif`, onload: run('onload'), onLOAD: run('onload2') }),
  el(28, 'object', { data: `${CANARY}/object` }),
  el(29, 'embed', { src: `${CANARY}/embed` }),
  el(30, 'form', { action: `${CANARY}/form`, id: 'f' }, [
    el(31, 'button', { formaction: `javascript:${run('button')}` }),
  ]),
  el(32, 'a', { href: `javascript:${run('link')}` }),
  el(33, 'a', { href: ` \u0001java\nscript:${run('link2')}` }),
  el(
    34,
    'svg',
    { onload: run('svg') },
    [
      el(35, 'script', {}, [text(36, run('svgscript'))], { isSVG: true }),
      el(
        37,
        'animate',
        { attributeName: 'href', values: `javascript:${run('animate')}`, onbegin: run('begin') },
        [],
        { isSVG: true },
      ),
      el(
        38,
        'use',
        {
          href: `data:image/svg+xml,<svg id='x' xmlns='http://www.w3.org/2000/svg'><image href='x' onerror='${run('use')}'/></svg>#x`,
        },
        [],
        { isSVG: true },
      ),
    ],
    { isSVG: true },
  ),
  el(40, 'frameset', {}, [el(41, 'frame', { src: `${CANARY}/frame-in-set` })]),
  el(42, 'portal', { src: `${CANARY}/portal` }),
  el(43, 'fencedframe', { src: `${CANARY}/fenced` }),
  el(44, 'x-evil', {}, [], { isCustom: true, isShadowHost: true }),
  el(45, 'canvas', { width: '9', height: '9', rr_dataURL: `${CANARY}/canvas` }),
  el(46, 'details', { open: '', ontoggle: run('toggle') }),
  el(47, 'div', {}),
];

/** A meta event and a full snapshot of a page with one frame. */
export const snapshotOf = (frame: string): object[] => [
  { type: 4, data: { href: 'http://shop.example/', width: 800, height: 600 }, timestamp: T },
  {
    type: 2,
    timestamp: T + 1,
    data: {
      initialOffset: { top: 0, left: 0 },
      node: {
        type: 0,
        id: 1,
        childNodes: [
          { type: 1, name: 'html', publicId: '', systemId: '', id: 2 },
          el(3, 'html', {}, [
            el(4, 'head', {}, head.slice(0, 1)),
            el(5, 'body', {}, [
              el(22, 'iframe', { src: frame }),
              ...body.slice(5, 7),
              ...body.filter(({ id }) => id === 25 || id === 45 || id === 47),
            ]),
          ]),
        ],
      },
    },
  },
];

const change = (at: number, data: object) => ({ type: 3, timestamp: T + at, data });
const attributes = (at: number, id: number, changed: object) =>
  change(at, { source: 0, texts: [], removes: [], adds: [], attributes: [{ id, attributes: changed }] });
const add = (at: number, parentId: number, node: Node) =>
  change(at, { source: 0, texts: [], removes: [], attributes: [], adds: [{ parentId, nextId: null, node }] });
const command = (property: string, args: readonly unknown[], more: object = {}) => ({
  property,
  args,
  ...more,
});

/** Uploads of one session, each made so that the harm of one needs the other. */
export function hostileUploads(site: string, session: string): string[] {
  const upload = (sequence: number, events: readonly object[]) =>
    JSON.stringify({ website_id: site, session_id: session, sequence, page: '/', events });
  const html = el(3, 'html', { onclick: run('html') }, [
    el(4, 'head', {}, head),
    el(5, 'body', { onload: run('body') }, body),
  ]);
  const document = {
    type: 0,
    id: 1,
    childNodes: [{ type: 1, name: 'html', publicId: '', systemId: '', id: 2 }, html],
  };
  return [
    upload(0, [
      { type: 4, data: { href: `javascript:${run('meta')}`, width: 800, height: 600 }, timestamp: T },
      { type: 2, data: { node: document, initialOffset: { top: 0, left: 0 } }, timestamp: T + 1 },
    ]),
    // The frame is in the chunk before; here it is only a number.
    upload(1, [
      attributes(100, 25, { src: `${CANARY}/frame-by-change`, srcdoc: `<script>${run('srcdoc2')}</script>` }),
      attributes(110, 47, {
        onclick: run('click'),
        ONMOUSEOVER: run('over'),
        style: { 'background-image': `url(javascript:${run('css')})` },
      }),
      attributes(120, 32, { href: `data:text/html,<script>${run('data')}</script>` }),
      attributes(130, 13, { 'http-equiv': 'refresh', content: `0;url=${CANARY}/refresh2` }),
    ]),
    upload(1, [
      add(200, 47, el(60, 'script', {}, [])),
      add(210, 60, text(61, run('late script'))),
      add(220, 47, el(62, 'SCRIPT', { src: `${CANARY}/late.js`, type: 'module' })),
      add(230, 47, el(63, 'iframe', { src: `${CANARY}/late-frame` })),
      add(240, 25, {
        type: 0,
        id: 70,
        childNodes: [
          el(71, 'html', {}, [
            el(72, 'body', {}, [
              el(73, 'SCRIPT', {}, [text(74, run('inner script'))]),
              el(75, 'iframe', { src: `${CANARY}/inner-frame` }),
            ]),
          ]),
        ],
      }),
      attributes(250, 63, { src: `${CANARY}/late-frame-by-change` }),
      attributes(255, 75, { src: `${CANARY}/inner-frame-by-change` }),
    ]),
    upload(2, [
      change(300, {
        source: 9,
        id: 45,
        type: 0,
        commands: [
          command('fillRect', [{ rr_type: 'Worker', args: [`${CANARY}/worker.js`] }]),
          command('fillRect', [{ rr_type: 'EventSource', args: [`${CANARY}/events`] }]),
          command('drawImage', [{ rr_type: 'Audio', args: [`${CANARY}/audio`] }, 0, 0]),
          command('fillRect', [0, 0, 3, 3]),
        ],
      }),
      change(310, {
        source: 10,
        family: 'A',
        fontSource: `url(${CANARY}/x) , url(/api/v1/user)`,
        buffer: false,
      }),
      change(320, { source: 8, id: 17, adds: [{ rule: `@import "javascript:${run('import')}"` }] }),
      change(330, { source: 16, define: { name: 'x-evil' } }),
      change(340, { source: 1, positions: [] }),
      { type: 99, timestamp: T + 350, data: {} },
      { type: 3, timestamp: T + 400, data: { source: 3, id: 1, x: 0, y: 0 } },
    ]),
  ];
}
