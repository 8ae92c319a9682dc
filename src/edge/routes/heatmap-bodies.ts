/** Shapes of the heatmap routes (contract section 11). */
import Type from 'typebox';
import { HEAT_DEVICES, HEAT_TYPES } from '../../events/heat.js';
import { MAX_CELLS } from '../../heatmaps/heatmaps.js';
import { RejectedEventSchema } from './ingest-shared.js';

const text = (description: string) => Type.Optional(Type.String({ description }));
const WebsiteId = Type.String({ description: 'UUID or public site id' });
const Url = Type.String({ minLength: 1, description: 'Path of the page' });
const oneOf = (names: readonly string[]) => names.map((name) => `\`${name}\``).join(', ');

const Point = Type.Object({
  type: Type.String({ description: `One of ${oneOf(HEAT_TYPES)}` }),
  x: Type.Optional(
    Type.Number({ description: 'Thousandths of the page width; may lie outside of 0 to 1000' }),
  ),
  y: Type.Optional(Type.Number({ description: 'Thousandths of the page height' })),
  x_percent: Type.Optional(Type.Number({ description: 'Wins over `x` when it is not 0' })),
  y_percent: Type.Optional(Type.Number({ description: 'Wins over `y` when it is not 0' })),
  selector: text('Of the element; the last 1,024 characters are kept'),
  url: Url,
  device_type: text(`One of ${oneOf(HEAT_DEVICES)}; default \`desktop\``),
  timestamp: Type.Optional(Type.Number({ description: 'Unix seconds (or ms) of the client' })),
});
export const RecordBody = Type.Object({
  website_id: WebsiteId,
  points: Type.Array(Point, { description: 'The first 5,000 are taken' }),
});
export const Recorded = Type.Union([
  Type.Object({
    status: Type.Literal('success'),
    rejected: Type.Optional(Type.Integer({ description: 'Points refused for good, when there are any' })),
    errors: Type.Optional(Type.Array(RejectedEventSchema, { description: 'The first ten of them' })),
  }),
  Type.Object({
    status: Type.Literal('rejected'),
    rejected: Type.Integer(),
    errors: Type.Array(RejectedEventSchema),
    error: Type.String(),
    message: Type.String(),
    code: Type.String(),
  }),
]);

const MapQuery = {
  website_id: WebsiteId,
  url: Url,
  type: text(`One of ${oneOf(HEAT_TYPES)}; default \`click\``),
  from: text('RFC 3339 or YYYY-MM-DD, inclusive; default 30 days ago, also when it is neither'),
  to: text('RFC 3339 or YYYY-MM-DD, inclusive; default now, also when it is neither'),
};
export const DataQuery = Type.Object({
  ...MapQuery,
  device: text(`One of ${oneOf(HEAT_DEVICES)}, or \`all\`; default \`desktop\``),
  height: Type.Optional(
    Type.Number({
      minimum: 1,
      maximum: 1_000_000,
      description: 'Height of the page in pixels: `y_percent` is then in pixels of it, but for scroll maps',
    }),
  ),
});
export const Data = Type.Object({
  points: Type.Array(
    Type.Object({
      website_id: Type.String(),
      url: Type.String(),
      type: Type.String(),
      device_type: Type.String(),
      x_percent: Type.Number({ description: 'Thousandths of the page width' }),
      y_percent: Type.Number({ description: 'Thousandths of the page height (pixels with `height`)' }),
      selector: Type.String({ description: 'One of the cell' }),
      x: Type.Number(),
      y: Type.Number(),
      intensity: Type.Integer({ description: 'Points in the asked range' }),
      last_seen: Type.String({ format: 'date-time' }),
    }),
    {
      description: `At most ${MAX_CELLS}, highest intensity first, then from top to bottom and left to right`,
    },
  ),
});
export const Pages = Type.Object({
  pages: Type.Array(
    Type.Object({
      url: Type.String(),
      views: Type.Integer(),
      clicks: Type.Integer(),
      avg_scroll: Type.Number({ description: 'Percent of the page that was seen on average' }),
      active: Type.Boolean({ description: 'Whether the page is still recorded' }),
    }),
  ),
  total: Type.Integer({ description: 'Pages that have points in the range' }),
});
export const Elements = Type.Object({
  elements: Type.Array(Type.Object({ selector: Type.String(), clicks: Type.Integer() })),
});

export const PagesQuery = Type.Object({
  website_id: WebsiteId,
  from: text('RFC 3339 or YYYY-MM-DD, inclusive; default the beginning'),
  to: text('RFC 3339 or YYYY-MM-DD, inclusive; default now'),
  limit: Type.Integer({ minimum: 1, maximum: 1_000, default: 1_000 }),
  offset: Type.Integer({ minimum: 0, maximum: 1_000_000, default: 0 }),
});
export const ElementsQuery = Type.Object(MapQuery);
export const PageQuery = Type.Object({ website_id: WebsiteId, url: Url });
export const BulkBody = Type.Object({
  website_id: WebsiteId,
  urls: Type.Array(Type.String(), { maxItems: 1_000, description: 'Paths of pages' }),
});
