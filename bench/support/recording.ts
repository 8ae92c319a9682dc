/**
 * Recordings as rrweb makes them, by code: a shop's page with inlined styles, then a visitor who moves, scrolls, clicks, types and changes
 * the page. The same seed makes the same recording.
 */

export interface RecordingShape {
  /** Cards on the page; each is 11 nodes, about 1.4 KB of JSON. */
  readonly cards: number;
  /** Rules of the inlined style sheet; each about 120 bytes. */
  readonly rules: number;
}

/** A page of 250 KB, of which 100 KB are styles: in the middle of what shops and news sites have. */
export const USUAL_PAGE: RecordingShape = { cards: 105, rules: 800 };

const WORDS =
  'wool linen cotton shirt coat summer winter autumn green blue grey slim wide classic light heavy knitted woven organic washed size fit ' +
  'care delivery returns within days free above made in Portugal new season sale last pieces reviews rating stars basket wish list';

interface Event {
  readonly type: number;
  readonly data: object;
  readonly timestamp: number;
}

/** One visitor's recording. */
export class Recording {
  #state: number;
  #nextId = 1;
  #cards: number[] = [];
  readonly #words = WORDS.split(' ');

  /** @param startMs the visitor's clock at the first event */
  constructor(
    seed: number,
    private readonly shape: RecordingShape,
    private readonly startMs: number,
  ) {
    this.#state = (seed * 2654435761) >>> 0 || 1;
  }

  #random(below: number): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x >>> 0;
    return this.#state % below;
  }

  #text(words: number): string {
    return Array.from({ length: words }, () => this.#words[this.#random(this.#words.length)]).join(' ');
  }

  #element(tagName: string, attributes: object, childNodes: readonly object[] = []): object {
    return { type: 2, tagName, attributes, childNodes, id: this.#nextId++ };
  }

  #textNode(textContent: string): object {
    return { type: 3, textContent, id: this.#nextId++ };
  }

  #card(): object {
    const n = this.#random(100_000);
    const image = {
      class: 'card__image',
      src: `https://img.shop.example/products/${n}/front-640.webp`,
      alt: this.#text(4),
      loading: 'lazy',
    };
    const card = this.#element('li', { class: 'card grid__item', 'data-product': `${n}` }, [
      this.#element('a', { class: 'card__link', href: `https://shop.example/products/${n}` }, [
        this.#element('img', image),
        this.#element('h3', { class: 'card__title' }, [this.#textNode(this.#text(5))]),
        this.#element('p', { class: 'card__text text--muted' }, [this.#textNode(this.#text(18))]),
      ]),
      this.#element('span', { class: 'card__price', style: 'color: rgb(20, 20, 20);' }, [
        this.#textNode(`${n % 300},00 €`),
      ]),
      this.#textNode('\n          '),
    ]);
    this.#cards.push(this.#nextId - 1);
    return card;
  }

  #css(): string {
    const rules: string[] = [];
    for (let i = 0; i < this.shape.rules; i++) {
      const name = `${this.#words[this.#random(this.#words.length)]}-${i}`;
      rules.push(
        `.${name} { display: flex; margin: ${this.#random(40)}px ${this.#random(40)}px; color: rgb(${this.#random(255)}, ${this.#random(255)}, ${this.#random(255)}); }`,
      );
      if (i % 20 === 0) rules.push(`.icon-${i}::before { content: "\\e${(100 + i) % 1000}"; }`);
    }
    return rules.join(' ');
  }

  /** Meta and full snapshot: what a tracker sends at once. */
  first(): Event[] {
    const head = this.#element('head', {}, [
      this.#element('meta', { charset: 'utf-8' }),
      this.#element('title', {}, [this.#textNode('Shop')]),
      this.#element('style', { _cssText: this.#css() }),
      this.#element('script', { src: '', defer: '' }, [this.#textNode('SCRIPT_PLACEHOLDER')]),
    ]);
    const list = this.#element(
      'ul',
      { class: 'grid' },
      Array.from({ length: this.shape.cards }, () => this.#card()),
    );
    const search = this.#element('input', {
      type: 'search',
      name: 'q',
      placeholder: 'Search',
      class: 'field',
    });
    const body = this.#element('body', { class: 'page page--list' }, [
      this.#element('header', { class: 'header' }, [this.#element('form', { class: 'search' }, [search])]),
      this.#element('main', { id: 'content' }, [list]),
    ]);
    const html = this.#element('html', { lang: 'en' }, [head, body]);
    const doctype = { type: 1, name: 'html', publicId: '', systemId: '', id: this.#nextId++ };
    const node = { type: 0, childNodes: [doctype, html], id: this.#nextId++ };
    return [
      {
        type: 4,
        data: { href: 'https://shop.example/products', width: 1440, height: 900 },
        timestamp: this.startMs,
      },
      { type: 2, data: { node, initialOffset: { left: 0, top: 0 } }, timestamp: this.startMs + 40 },
    ];
  }

  /** What a visitor does within `seconds`, beginning `fromMs` after the start: about 1.5 KB a second. */
  later(fromMs: number, seconds: number): Event[] {
    const events: Event[] = [];
    for (let second = 0; second < seconds; second++) {
      const at = this.startMs + fromMs + second * 1_000;
      for (const half of [0, 500]) events.push(this.#move(at + half));
      events.push(this.#incremental(at + 120, { source: 3, id: 1, x: 0, y: this.#random(6_000) }));
      if (second % 3 === 0) for (const type of [1, 0, 2]) events.push(this.#click(at + 200 + type, type));
      if (second % 2 === 0) events.push(this.#mutation(at + 300));
      if (second % 5 === 0)
        events.push(
          this.#incremental(at + 600, {
            source: 5,
            text: '*'.repeat(1 + this.#random(12)),
            isChecked: false,
            id: 9,
          }),
        );
    }
    return events;
  }

  #incremental(timestamp: number, data: object): Event {
    return { type: 3, data, timestamp };
  }

  #move(timestamp: number): Event {
    const positions = Array.from({ length: 8 }, (_, i) => ({
      x: this.#random(1_440),
      y: this.#random(900),
      id: this.#someCard(),
      timeOffset: -450 + i * 55,
    }));
    return this.#incremental(timestamp + 450, { source: 1, positions });
  }

  #click(timestamp: number, type: number): Event {
    return this.#incremental(timestamp, {
      source: 2,
      type,
      id: this.#someCard(),
      x: this.#random(1_440),
      y: this.#random(900),
    });
  }

  #mutation(timestamp: number): Event {
    const id = this.#someCard();
    const node = this.#element('div', { class: 'toast toast--visible', role: 'status' });
    return this.#incremental(timestamp, {
      source: 0,
      texts: [],
      attributes: [
        { id, attributes: { class: `card grid__item card--active-${this.#random(9)}` } },
        {
          id: id - 1,
          attributes: {
            style: { opacity: `0.${this.#random(9)}`, transform: `translateY(${this.#random(90)}px)` },
          },
        },
      ],
      removes: [],
      adds: [
        { parentId: id, nextId: null, node },
        { parentId: this.#nextId - 1, nextId: null, node: this.#textNode(this.#text(8)) },
      ],
    });
  }

  #someCard(): number {
    return this.#cards[this.#random(this.#cards.length)] ?? 1;
  }
}

/** The body of an upload as the tracker writes it. */
export function uploadOf(site: string, session: string, sequence: number, events: readonly object[]): string {
  return JSON.stringify({ website_id: site, session_id: session, events, sequence, page: '/products' });
}
