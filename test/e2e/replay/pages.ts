/** Pages that are recorded, the player's page, and a host that notes who asks it for anything. */
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';

export interface RecorderSettings {
  readonly site: string;
  /** Further options of `rrweb.record`; the tracker has only `maskAllInputs`. */
  readonly options?: Readonly<Record<string, unknown>>;
  /** Chunks are kept instead of sent. */
  readonly held?: boolean;
}

/** One pixel, so that pictures load. */
const PIXEL = Buffer.from('R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7', 'base64');

const page = (settings: RecorderSettings, body: string, head = '') => `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Shop</title>
<!-- a comment -->
<style>.price { color: rgb(1, 2, 3) } .price:hover { color: red } @media (min-width: 10px) { main { padding: 7px } }</style>
${head}</head>
<body class="page">${body}
<script>window.replayTest = ${JSON.stringify({ options: {}, held: false, ...settings, api: 'http://api.example' })};</script>
<script src="/rrweb.js"></script>
<script src="/recorder.js"></script>
</body></html>`;

const form = `<main><form id="order" action="/buy" method="post">
<label for="name">Name</label><input id="name" name="name" value="preset">
<input id="password" type="password" name="password"><input id="card" autocomplete="cc-number" name="card">
<textarea id="note" rows="3">from the page</textarea>
<select id="size"><option value="s">Small</option><option value="l" selected>Large</option></select>
<input id="gift" type="checkbox" value="gift"><input type="radio" name="pay" value="bill" checked><input id="cash" type="radio" name="pay" value="cash">
<progress max="100" value="20"></progress><input type="submit" value="Order"><p class="price" style="margin-top: 3px">9,00</p>
</form></main>`;

const canvas = `<main><canvas id="chart" width="60" height="40"></canvas><canvas id="later" width="60" height="40"></canvas></main>
<script>
const draw = (id, colour) => { const c = document.getElementById(id).getContext('2d'); c.fillStyle = colour; c.fillRect(5, 5, 30, 20); c.beginPath(); c.arc(40, 20, 8, 0, 5); c.stroke(); };
draw('chart', 'rgb(0, 120, 0)');
</script>`;

const frames = `<main><iframe id="inner" src="/inner" width="300" height="100"></iframe>
<iframe id="written"></iframe><iframe id="other" src="http://canary.example/frame" width="50"></iframe></main>
<script>document.getElementById('written').contentDocument.body.innerHTML = '<p class="w">written</p>';</script>`;

const shadow = `<main><x-card></x-card><div id="host"></div></main>
<script>
customElements.define('x-card', class extends HTMLElement {
  connectedCallback() {
    const root = this.attachShadow({ mode: 'open' });
    const sheet = new CSSStyleSheet();
    sheet.replaceSync('b { color: rgb(9, 8, 7) }');
    root.adoptedStyleSheets = [sheet];
    root.innerHTML = '<b>inside</b><slot></slot>';
  }
});
document.getElementById('host').attachShadow({ mode: 'open' }).innerHTML = '<style>i { top: 1px }</style><i>one</i><div id="deep"></div>';
document.getElementById('host').shadowRoot.getElementById('deep').attachShadow({ mode: 'open' }).innerHTML = '<u>deep</u>';
</script>`;

const spa = (
  path: string,
) => `<nav><a id="a" href="/spa/a">A</a> <a id="b" href="/spa/b">B</a> <a id="c" href="/spa/c">C</a></nav>
<main id="view"><h1>Loaded ${path}</h1></main>
<script>
window.show = (name) => { history.pushState({}, '', '/spa/' + name); document.getElementById('view').innerHTML = '<h1>' + name + '</h1><ul>' + '<li class="price">row</li>'.repeat(20) + '</ul>'; };
</script>`;

/** Everything that runs, or asks for something that runs. It may, while it is recorded. */
const hostile = `<main><h1>Sale</h1>
<script>window.__pwned = 'inline'; top.__pwned = 'inline';</script>
<script src="http://canary.example/script.js"></script><script type="module" src="http://canary.example/module.js"></script>
<img src="http://canary.example/image.gif" onload="top.__pwned = 'onload'" alt="kept">
<img src="http://shop.example/missing.gif" onerror="top.__pwned = 'onerror'">
<a id="js" href="javascript:top.__pwned='link'">link</a> <a href=" java&#10;script:top.__pwned='link2'">link</a>
<a href="data:text/html,<script>top.__pwned=1</script>">data</a><a id="fine" href="http://shop.example/fine">fine</a>
<svg width="9" height="9" onload="top.__pwned='svg'"><a xlink:href="javascript:top.__pwned='svglink'"><rect width="9" height="9"/></a>
<animate attributeName="href" values="javascript:top.__pwned='animate'" onbegin="top.__pwned='begin'" dur="1s"/><set attributeName="onclick" to="top.__pwned=1"/>
<script>top.__pwned = 'svgscript'</script><foreignObject width="5" height="5"><iframe src="http://canary.example/frame-in-svg"></iframe></foreignObject></svg>
<iframe src="http://canary.example/frame"></iframe><iframe srcdoc="<script>top.__pwned='srcdoc'</script><p>doc</p>"></iframe>
<iframe src="javascript:top.__pwned='frame'"></iframe><iframe src="data:text/html,<script>top.__pwned='dataframe'</script>"></iframe>
<object data="http://canary.example/object"></object><embed src="http://canary.example/embed" width="3" height="3">
<form action="http://canary.example/form"><button formaction="javascript:top.__pwned='button'">go</button><input name="appendChild"></form>
<video src="http://canary.example/none.mp4" onerror="top.__pwned='video'" autoplay></video>
<details open ontoggle="top.__pwned='toggle'"><summary>more</summary></details><input autofocus onfocus="top.__pwned='focus'">
<math><maction actiontype="statusline" xlink:href="javascript:top.__pwned='math'">x</maction></math>
<div style="width: 7px; background: url('javascript:top.__pwned=1')">styled</div></main>`;
const hostileHead = `<meta http-equiv="refresh" content="600;url=http://canary.example/refresh">
<link rel="stylesheet" href="http://canary.example/style.css"><link rel="modulepreload" href="http://canary.example/preload.js">
<link rel="prefetch" href="http://canary.example/prefetch"><base target="_top">`;

const inner = `<!doctype html><body><p id="said">inside</p><button>press</button></body>`;

export interface PageServer {
  readonly port: number;
  /** Paths asked of canary.example since the last `forget`. */
  asked(): readonly string[];
  forget(): void;
  close(): Promise<void>;
}

const file = (path: string) => readFile(fileURLToPath(new URL(path, import.meta.url)));

/** @param settings for the page of each request's query `?n=…` */
export async function serveRecordedPages(settings: () => RecorderSettings): Promise<PageServer> {
  const scripts = new Map([
    ['/rrweb.js', await file('../../../node_modules/rrweb/umd/rrweb.js')],
    ['/recorder.js', await file('./recorder.js')],
    ['/dom.js', await file('./dom.js')],
  ]);
  const player = await file('./player.html');
  const bodies: Readonly<Record<string, string>> = {
    '/forms': form,
    '/canvas': canvas,
    '/frames': frames,
    '/shadow': shadow,
  };
  let asked: string[] = [];

  const htmlOf = (path: string): string | Buffer => {
    if (path === '/player') return player;
    if (path === '/inner') return inner;
    if (path === '/hostile') return page(settings(), hostile, hostileHead);
    return page(settings(), path.startsWith('/spa') ? spa(path) : (bodies[path] ?? form));
  };
  const server = createServer((incoming, answer) => {
    const path = new URL(incoming.url ?? '/', 'http://x').pathname;
    if (incoming.headers.host === 'canary.example') {
      asked.push(path);
      if (path.endsWith('.js'))
        answer.setHeader('content-type', 'text/javascript').end("top.__pwned = 'remote';");
      else if (path.endsWith('.css'))
        answer.setHeader('content-type', 'text/css').end('h1 { color: rgb(4, 5, 6) }');
      else if (path.endsWith('.gif')) answer.setHeader('content-type', 'image/gif').end(PIXEL);
      else
        answer
          .setHeader('content-type', 'text/html')
          .end('<script>parent.postMessage("ran", "*")</script>frame');
      return;
    }
    const script = scripts.get(path);
    if (script !== undefined) answer.setHeader('content-type', 'text/javascript').end(script);
    else if (path.endsWith('.gif') || path.endsWith('.ico')) answer.writeHead(404).end();
    else answer.setHeader('content-type', 'text/html').end(htmlOf(path));
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no TCP address');
  return {
    port: address.port,
    asked: () => asked,
    forget: () => {
      asked = [];
    },
    close: async () => {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}
