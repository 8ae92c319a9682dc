/** Uploads as the tracker makes them, with events as rrweb makes them. */
import { SITE } from '../../src/edge/testing.js';

export interface Upload {
  readonly website_id: string;
  readonly session_id: string;
  readonly sequence: number;
  readonly page: string;
  readonly events: readonly unknown[];
}

/** Meta and full snapshot of a page with one text. */
export function snapshotEvents(at: number, text: string, page = '/'): unknown[] {
  const element = (tagName: string, id: number, childNodes: unknown[]) => ({
    ...{ type: 2, tagName, attributes: {}, childNodes, id },
  });
  const body = element('body', 4, [{ type: 3, textContent: text, id: 5 }]);
  const html = element('html', 2, [element('head', 3, []), body]);
  const node = {
    type: 0,
    childNodes: [{ type: 1, name: 'html', publicId: '', systemId: '', id: 6 }, html],
    id: 1,
  };
  return [
    { type: 4, data: { href: `https://shop.example${page}`, width: 1280, height: 720 }, timestamp: at },
    { type: 2, data: { node, initialOffset: { left: 0, top: 0 } }, timestamp: at + 1 },
  ];
}

/** Mouse positions, one a second. */
export function moves(from: number, count: number): unknown[] {
  return Array.from({ length: count }, (_, i) => ({
    type: 3,
    data: { source: 1, positions: [{ x: i, y: i * 2, id: 4, timeOffset: 0 }] },
    timestamp: from + i * 1_000,
  }));
}

/** Clicks on one spot, quickly one after the other. */
export function clicks(at: number, count: number): unknown[] {
  return Array.from({ length: count }, (_, i) => ({
    type: 3,
    data: { source: 2, type: 2, id: 4, x: 100, y: 100 },
    timestamp: at + i * 100,
  }));
}

/** The newest text that changed: what tells one chunk from another. */
export function textChange(at: number, value: string): unknown {
  return {
    type: 3,
    data: { source: 0, texts: [{ id: 5, value }], attributes: [], removes: [], adds: [] },
    timestamp: at,
  };
}

export function upload(session: string, sequence: number, events: readonly unknown[], page = '/'): Upload {
  return { website_id: SITE.siteId, session_id: session, events, sequence, page };
}
