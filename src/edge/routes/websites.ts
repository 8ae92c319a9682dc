import Type, { type Static } from 'typebox';
import type { Gate } from '../../auth/gate.js';
import type { Principal } from '../../auth/principal.js';
import { AppError } from '../../errors.js';
import type { SiteStats, SiteStatsReader } from '../../metrics/site-stats.js';
import { MANAGED_SETTINGS, MAX_ALLOWED_ORIGINS } from '../../websites/settings.js';
import type { Website } from '../../websites/website.js';
import type { WebsiteChange, WebsiteService } from '../../websites/website-service.js';
import { userIdOf } from '../caller.js';
import { NEXT_CURSOR, PAGE_QUERY, pageOf } from '../paging.js';
import { type AnyRoute, Nothing, route, siteRoute } from '../route.js';

const ById = Type.Object({ id: Type.String({ description: 'UUID or public site id' }) });
const nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);
const patterns = nullable(Type.String());

const ipHandling = Type.Union([Type.Literal('drop'), Type.Literal('truncate'), Type.Literal('keep')], {
  description: "What is stored of visitors' addresses: nothing, their network (/24, /48), the whole",
});

const SettingsBody = Type.Object({
  allowedOrigins: Type.Array(Type.String()),
  trackingEnabled: Type.Boolean(),
  dataRetentionDays: Type.Integer(),
  useIpAnonymization: Type.Boolean(),
  ipHandling,
  respectDoNotTrack: Type.Boolean(),
  allowRawDataExport: Type.Boolean(),
});

const StatsBody = Type.Object(
  {
    totalPageviews: Type.Integer(),
    uniqueVisitors: Type.Integer(),
    averageSessionDuration: Type.Number({ description: 'Seconds' }),
    bounceRate: Type.Number({ description: 'Percent of sessions' }),
  },
  {
    description:
      'Of the last 30 days (UTC), up to half a minute old; where websites are read, and absent when it cannot be counted in time',
  },
);

const WebsiteBody = Type.Object({
  id: Type.String({ format: 'uuid' }),
  site_id: Type.String({ description: '24 hex characters' }),
  user_id: Type.String({ format: 'uuid' }),
  name: Type.String(),
  url: Type.String({ description: 'Bare host' }),
  tracking_id: Type.String(),
  is_active: Type.Boolean(),
  is_verified: Type.Boolean(),
  automation_enabled: Type.Boolean(),
  funnel_enabled: Type.Boolean(),
  heatmap_enabled: Type.Boolean(),
  heatmap_include_patterns: patterns,
  heatmap_exclude_patterns: patterns,
  replay_enabled: Type.Boolean(),
  replay_sampling_rate: Type.Number(),
  replay_include_patterns: patterns,
  replay_exclude_patterns: patterns,
  verification_token: Type.String(),
  settings: SettingsBody,
  stats: Type.Optional(StatsBody),
  created_at: Type.String({ format: 'date-time' }),
  updated_at: Type.String({ format: 'date-time' }),
});
const OneBody = Type.Object({ data: WebsiteBody });
const ChangedBody = Type.Object({ message: Type.String(), data: WebsiteBody });

const name = Type.String({ minLength: 1, maxLength: 255 });
const url = Type.String({ minLength: 1, maxLength: 2048 });
const CreateBody = Type.Object({ name, url });

/** Absent or null: unchanged. */
const change = <T extends Type.TSchema>(schema: T) => Type.Optional(nullable(schema));
const flag = change(Type.Boolean());
const rate = change(Type.Number({ minimum: 0, maximum: 1 }));
const patternList = change(Type.String({ maxLength: 10_000 }));

/** The original's names, and the dashboard's duplicates of them; where both are sent, the original's count. */
const UpdateBody = Type.Object({
  name: change(name),
  url: change(url),
  is_active: flag,
  isActive: flag,
  automation_enabled: flag,
  automationEnabled: flag,
  funnel_enabled: flag,
  funnelEnabled: flag,
  heatmap_enabled: flag,
  heatmapEnabled: flag,
  heatmap_include_patterns: patternList,
  heatmapIncludePatterns: patternList,
  heatmap_exclude_patterns: patternList,
  heatmapExcludePatterns: patternList,
  replay_enabled: flag,
  replayEnabled: flag,
  replay_sampling_rate: rate,
  replaySamplingRate: rate,
  replay_include_patterns: patternList,
  replayIncludePatterns: patternList,
  replay_exclude_patterns: patternList,
  replayExcludePatterns: patternList,
  settings: change(
    Type.Object(
      {
        allowedOrigins: change(
          Type.Array(Type.String({ maxLength: 2048 }), { maxItems: MAX_ALLOWED_ORIGINS }),
        ),
        trackingEnabled: flag,
        dataRetentionDays: change(
          Type.Integer({
            minimum: 1,
            maximum: 36_500,
            description: 'A lower one removes what is older within an hour, for good',
          }),
        ),
        useIpAnonymization: flag,
        ipHandling: change(ipHandling),
        respectDoNotTrack: flag,
        allowRawDataExport: flag,
      },
      {
        description: `Changes of ${MANAGED_SETTINGS.join(', ')} are for who may manage the website; unchanged they may be sent by all`,
      },
    ),
  ),
});

const BASE = '/api/v1/user/websites';
const common = { tag: 'Websites', bucket: 'api', cors: 'api', query: Nothing } as const;

/** Websites of an account (contract 4.2 to 4.6). */
export function websiteRoutes(
  websites: WebsiteService,
  gate: Pick<Gate, 'authorize'>,
  siteStats: SiteStatsReader,
): AnyRoute[] {
  /** Members whose role is none are shown the website in their list, but none of its figures. @returns site ids */
  const readable = async (principal: Principal, list: readonly Website[]): Promise<string[]> => {
    const allowed = await Promise.all(
      list.map(({ id, userId }) => gate.authorize(principal, { id, ownerId: userId }, 'read')),
    );
    return list.filter((_, index) => allowed[index]).map(({ siteId }) => siteId);
  };
  return [
    route({
      ...common,
      method: 'GET',
      path: BASE,
      summary: 'Own websites and those shared with the account, newest first',
      access: 'account',
      keys: 'read',
      params: Nothing,
      query: Type.Object(PAGE_QUERY),
      responses: { 200: Type.Object({ data: Type.Array(WebsiteBody), ...NEXT_CURSOR }) },
      async handle({ principal, query }) {
        const bound = boundTo(principal);
        const list = (await websites.list(userIdOf(principal))).filter(
          ({ id }) => bound?.includes(id) ?? true,
        );
        const { items, next } = pageOf(list, query, ({ id }) => id);
        const stats = await siteStats.of(await readable(principal, items));
        const data = items.map((website) => websiteBody(website, stats.get(website.siteId)));
        return { status: 200, body: { data, ...next } };
      },
    }),
    route({
      ...common,
      method: 'POST',
      path: BASE,
      summary: 'Create a website',
      access: 'account',
      keys: 'manage',
      params: Nothing,
      body: CreateBody,
      responses: { 201: ChangedBody },
      async handle({ principal, body }) {
        if (boundTo(principal) !== null) {
          throw new AppError('insufficient_scope', 'The API key is bound to other websites');
        }
        const website = await websites.create(userIdOf(principal), body);
        return {
          status: 201,
          body: { message: 'Website created successfully', data: websiteBody(website) },
        };
      },
    }),
    ...[`${BASE}/:id`, `${BASE}/by-site-id/:id`].map((path) =>
      siteRoute({
        ...common,
        method: 'GET',
        path,
        summary: 'One website',
        access: { site: 'read' },
        siteFrom: { param: 'id' },
        params: ById,
        responses: { 200: OneBody },
        async handle({ site }) {
          const [website, stats] = await Promise.all([websites.get(site.id), siteStats.of([site.siteId])]);
          return { status: 200, body: { data: websiteBody(website, stats.get(site.siteId)) } };
        },
      }),
    ),
    siteRoute({
      ...common,
      method: 'PUT',
      path: `${BASE}/:id`,
      summary: 'Change a website; what is absent or null stays',
      access: { site: 'write' },
      siteFrom: { param: 'id' },
      params: ById,
      body: UpdateBody,
      responses: { 200: ChangedBody },
      async handle({ site, body, principal }) {
        const mayManage = () => gate.authorize(principal, site, 'manage');
        const website = await websites.update(site, changeFrom(body), mayManage);
        return {
          status: 200,
          body: { message: 'Website updated successfully', data: websiteBody(website) },
        };
      },
    }),
    siteRoute({
      ...common,
      method: 'DELETE',
      path: `${BASE}/:id`,
      summary: 'Delete a website with everything that was recorded for it',
      access: { site: 'manage' },
      siteFrom: { param: 'id' },
      params: ById,
      responses: { 200: Type.Object({ message: Type.String() }) },
      async handle({ site }) {
        await websites.delete(site);
        return { status: 200, body: { message: 'Website deleted successfully' } };
      },
    }),
  ];
}

/** The only websites that the caller's API key is for; null: there is no such bound. */
const boundTo = (principal: Principal): readonly string[] | null =>
  principal.kind === 'account' ? (principal.key?.websiteIds ?? null) : null;

function changeFrom(body: Static<typeof UpdateBody>): WebsiteChange {
  return {
    name: body.name,
    url: body.url,
    isActive: body.is_active ?? body.isActive,
    automationEnabled: body.automation_enabled ?? body.automationEnabled,
    funnelEnabled: body.funnel_enabled ?? body.funnelEnabled,
    heatmapEnabled: body.heatmap_enabled ?? body.heatmapEnabled,
    heatmapIncludePatterns: body.heatmap_include_patterns ?? body.heatmapIncludePatterns,
    heatmapExcludePatterns: body.heatmap_exclude_patterns ?? body.heatmapExcludePatterns,
    replayEnabled: body.replay_enabled ?? body.replayEnabled,
    replaySamplingRate: body.replay_sampling_rate ?? body.replaySamplingRate,
    replayIncludePatterns: body.replay_include_patterns ?? body.replayIncludePatterns,
    replayExcludePatterns: body.replay_exclude_patterns ?? body.replayExcludePatterns,
    settings: body.settings,
  };
}

function websiteBody(website: Website, stats?: SiteStats): Static<typeof WebsiteBody> {
  const { settings } = website;
  return {
    id: website.id,
    site_id: website.siteId,
    user_id: website.userId,
    name: website.name,
    url: website.url,
    tracking_id: website.trackingId,
    is_active: website.isActive,
    is_verified: website.isVerified,
    automation_enabled: website.automationEnabled,
    funnel_enabled: website.funnelEnabled,
    heatmap_enabled: website.heatmapEnabled,
    heatmap_include_patterns: website.heatmapIncludePatterns,
    heatmap_exclude_patterns: website.heatmapExcludePatterns,
    replay_enabled: website.replayEnabled,
    replay_sampling_rate: website.replaySamplingRate,
    replay_include_patterns: website.replayIncludePatterns,
    replay_exclude_patterns: website.replayExcludePatterns,
    verification_token: '',
    settings: { ...settings, allowedOrigins: [...settings.allowedOrigins] },
    ...(stats === undefined ? {} : { stats }),
    created_at: website.createdAt.toISOString(),
    updated_at: website.updatedAt.toISOString(),
  };
}
