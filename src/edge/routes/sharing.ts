/** Public dashboards (contract 18.4, 18.5): the switch of a site, the link, the password. */
import Type, { type Static, type TObject } from 'typebox';
import { MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH } from '../../auth/passwords.js';
import type { PublicReports } from '../../sharing/public-reports.js';
import type { ShareService } from '../../sharing/share-service.js';
import type { ShareRecord } from '../../storage/metadata/shares.js';
import { clientOf } from '../address.js';
import { type AnyRoute, Nothing, type RequestInfo, route, siteRoute } from '../route.js';
import * as body from './analytics-bodies.js';

export interface SharingRoutesOptions {
  readonly sharing: ShareService;
  readonly reports: PublicReports;
}

const nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);
const time = Type.String({ format: 'date-time' });

const Sharing = Type.Object({
  website_id: Type.String({ format: 'uuid' }),
  enabled: Type.Boolean(),
  public_id: nullable(Type.String({ description: 'What the link names; null while switched off' })),
  share_path: nullable(Type.String({ description: 'Page of the dashboard, relative to its address' })),
  has_password: Type.Boolean(),
  created_at: nullable(time),
  updated_at: nullable(time),
});

const SharingChange = Type.Object({
  enabled: Type.Boolean({ description: 'false forgets link and password' }),
  password: Type.Optional(
    nullable(
      Type.String({
        minLength: MIN_PASSWORD_LENGTH,
        maxLength: MAX_PASSWORD_LENGTH,
        description: 'null: the link alone is enough; absent: as before',
      }),
    ),
  ),
  rotate: Type.Optional(Type.Boolean({ description: 'Makes a new link; the old one is dead' })),
});

/** A list of a report, its rows with the name that the share pages read besides. */
const withPageViews = <T extends Type.TProperties>({ properties }: TObject<T>) =>
  Type.Array(Type.Object({ ...properties, page_views: Type.Integer() }));

const { live_visitors, total_visitors, unique_visitors, page_views, session_duration, ...dashboard } =
  body.Dashboard.properties;
const { website_id } = body.TopPages.properties;

const PublicDashboard = Type.Object({
  website_id: Type.String({ description: 'The public id, for the site is named by nothing else' }),
  date_range: dashboard.date_range,
  live_visitors,
  total_visitors,
  unique_visitors,
  page_views,
  session_duration,
  bounce_rate: dashboard.bounce_rate,
  comparison: dashboard.comparison,
  daily_stats: body.DailyStats,
  hourly_stats: body.HourlyStats,
  top_pages: body.TopPages,
  top_sources: Type.Object({
    website_id,
    top_referrers: withPageViews(body.TopReferrers.properties.top_referrers.items),
  }),
  top_countries: Type.Object({
    website_id,
    top_countries: withPageViews(body.TopCountries.properties.top_countries.items),
  }),
  top_devices: Type.Object({
    website_id,
    top_devices: withPageViews(body.TopDevices.properties.top_devices.items),
  }),
  geolocation: body.Geolocation,
  web_vitals: body.WebVitals.properties.web_vitals,
});

const BySite = Type.Object({ website_id: Type.String({ description: 'UUID or public site id' }) });
const ByLink = Type.Object({ public_id: Type.String({ description: 'Of the link' }) });
const TOKEN_HEADER = 'x-share-token';
/** Short, for a link that was switched off is to be dead. */
const OPEN_CACHE = 'public, max-age=10';
const PROTECTED_CACHE = 'private, no-store';
const SITE_PATH = '/api/v1/websites/:website_id/sharing';

export function sharingRoutes(options: SharingRoutesOptions): AnyRoute[] {
  return [
    ...switchRoutes(options.sharing),
    accessRoute(options.sharing),
    dashboardRoute(options, '/api/v1/public/analytics/:public_id'),
    dashboardRoute(options, '/api/v1/analytics/public/dashboard/:public_id'),
  ];
}

function switchRoutes(sharing: ShareService): AnyRoute[] {
  const common = {
    path: SITE_PATH,
    tag: 'Sharing',
    bucket: 'api',
    cors: 'api',
    access: { site: 'manage' },
    keys: 'refused',
    siteFrom: { param: 'website_id' },
    params: BySite,
    query: Nothing,
    responses: { 200: Type.Object({ data: Sharing }) },
  } as const;
  return [
    siteRoute({
      ...common,
      method: 'GET',
      summary: 'Whether and how the figures of a website are shared',
      handle: async ({ site }) => ({
        status: 200,
        body: { data: sharingBody(site.id, await sharing.get(site)) },
      }),
    }),
    siteRoute({
      ...common,
      method: 'PUT',
      summary: 'Share the figures of a website by a public link, or stop it',
      bodyLimit: 16 * 1024,
      body: SharingChange,
      handle: async ({ site, body: change }) => ({
        status: 200,
        body: { data: sharingBody(site.id, await sharing.change(site, change)) },
      }),
    }),
  ];
}

function accessRoute(sharing: ShareService): AnyRoute {
  return route({
    method: 'POST',
    path: '/api/v1/public/analytics/:public_id/access',
    summary: 'Exchange the password of a public dashboard for a token that opens it for an hour',
    tag: 'Sharing',
    bucket: 'auth',
    cors: 'api',
    access: 'public',
    answerIsSecret: true,
    params: ByLink,
    query: Nothing,
    bodyLimit: 16 * 1024,
    body: Type.Object({ password: Type.String({ maxLength: MAX_PASSWORD_LENGTH }) }),
    responses: {
      200: Type.Object({
        token: Type.String({ description: 'For the header X-Share-Token' }),
        expires_at: time,
      }),
    },
    async handle({ params, body: { password }, request }) {
      const { token, expiresAt } = await sharing.unlock(params.public_id, password, clientOf(request));
      return { status: 200, body: { token, expires_at: expiresAt.toISOString() } };
    },
  });
}

function dashboardRoute({ sharing, reports }: SharingRoutesOptions, path: string): AnyRoute {
  return route({
    method: 'GET',
    path,
    summary: 'Figures of a website that is shared by a public link',
    tag: 'Sharing',
    bucket: 'public',
    cors: 'api',
    access: 'public',
    params: ByLink,
    query: Type.Object({
      days: Type.Optional(Type.String({ description: '1 to 90, default 7' })),
      timezone: Type.Optional(Type.String({ description: 'IANA name, default UTC' })),
    }),
    responses: { 200: PublicDashboard },
    async handle({ params, query, request }) {
      const { public_id } = params;
      const { site, isProtected } = await sharing.open(public_id, tokenOf(request));
      return {
        status: 200,
        body: await reports.of(site.siteId, public_id, query),
        headers: { 'Cache-Control': isProtected ? PROTECTED_CACHE : OPEN_CACHE },
      };
    },
  });
}

const tokenOf = (request: RequestInfo): string => request.header(TOKEN_HEADER);

function sharingBody(websiteId: string, share: ShareRecord | null): Static<typeof Sharing> {
  return {
    website_id: websiteId,
    enabled: share !== null,
    public_id: share?.publicId ?? null,
    share_path: share === null ? null : `/share/${share.publicId}`,
    has_password: (share?.passwordHash ?? null) !== null,
    created_at: share?.createdAt.toISOString() ?? null,
    updated_at: share?.updatedAt.toISOString() ?? null,
  };
}
