import Type from 'typebox';
import { hostOf } from '../../enrich/url.js';
import { AppError } from '../../errors.js';
import type { ClickGoal, FunnelRecord } from '../../storage/metadata/metadata.js';
import { hostAllowed, type Site, type SiteDirectory } from '../../websites/site.js';
import type { TrackerConfigs } from '../../websites/tracker-config.js';
import { type AnyRoute, Nothing, type Reply, type RequestInfo, route, TextBody } from '../route.js';

export interface TrackerRoutesOptions {
  readonly directory: SiteDirectory;
  readonly configs: TrackerConfigs;
  /** In production pages on localhost are foreign, too. */
  readonly production: boolean;
  /**
   * Who applies the sampling rate of recordings. By default the server, session by session: then trackers are told to send all, since they
   * would decide anew at each page load, and the rate would apply twice.
   */
  readonly replaySampling?: 'server' | 'tracker';
}

const patterns = Type.Union([Type.String(), Type.Null()]);

const ConfigBody = Type.Object({
  site_id: Type.String(),
  automation_enabled: Type.Boolean(),
  funnel_enabled: Type.Boolean(),
  heatmap_enabled: Type.Boolean(),
  heatmap_include_patterns: patterns,
  heatmap_exclude_patterns: patterns,
  max_heatmaps: Type.Integer({ description: '-1: unlimited' }),
  tracked_urls: Type.Array(Type.String(), {
    description: 'Pages that have heat points, the first 1,000 or 32,000 characters; may be a minute old',
  }),
  replay_enabled: Type.Boolean(),
  replay_sampling_rate: Type.Number(),
  replay_include_patterns: patterns,
  replay_exclude_patterns: patterns,
  goals: Type.Array(
    Type.Object({
      id: Type.String(),
      name: Type.String({ description: "The goal's identifier" }),
      selector: Type.String(),
    }),
  ),
});

const FunnelsBody = Type.Object({
  funnels: Type.Array(
    Type.Object({
      id: Type.String(),
      websiteId: Type.String(),
      name: Type.String(),
      description: Type.String(),
      isActive: Type.Boolean(),
      createdAt: Type.String({ format: 'date-time' }),
      updatedAt: Type.String({ format: 'date-time' }),
      steps: Type.Array(
        Type.Object({
          id: Type.String(),
          funnelId: Type.String(),
          name: Type.String(),
          order: Type.Integer(),
          stepType: Type.String(),
          pagePath: Type.Optional(Type.String()),
          eventType: Type.Optional(Type.String()),
          matchType: Type.String(),
        }),
      ),
    }),
  ),
  total: Type.Integer(),
});

const common = {
  method: 'GET',
  tag: 'Tracker',
  bucket: 'ingest',
  cors: 'tracker',
  access: 'public',
} as const;

/** GETs that a tracker makes at every page load (contract 5, 9.8; the third is in workflows.ts). */
export function trackerRoutes(options: TrackerRoutesOptions): AnyRoute[] {
  const { directory, configs, production, replaySampling = 'server' } = options;
  /** The site, when the page that asks belongs to it. */
  const siteFor = async (id: string, request: RequestInfo): Promise<Site> => {
    const site = await directory.resolve(id);
    if (site === null) throw new AppError('website_not_found', 'website not found');
    if (!hostAllowed(site, hostOf(request.origin) || hostOf(request.referer), production)) {
      throw new AppError('origin_not_allowed', 'domain mismatch');
    }
    return site;
  };

  const funnelTexts = new FunnelTexts();
  return [
    route({
      ...common,
      path: '/api/v1/tracker/config/:site_id',
      summary: 'What the tracker of a site should do',
      params: Type.Object({ site_id: Type.String() }),
      query: Nothing,
      responses: { 200: ConfigBody },
      async handle({ params, request }) {
        // One answer for both, as the original: it does not tell which ids exist.
        const site = await siteFor(params.site_id, request).catch((error: unknown) => {
          if (error instanceof AppError && /^(website_not_found|origin_not_allowed)$/.test(error.code)) {
            throw new AppError('website_not_found', 'Website not found or domain mismatch');
          }
          throw error;
        });
        const [goals, pages] = await Promise.all([configs.clickGoals(site), configs.trackedPages(site)]);
        return cacheable(configBody(site, goals, pages, replaySampling));
      },
    }),
    route({
      ...common,
      path: '/api/v1/funnels/active',
      summary: 'Active funnels of a site, for its tracker',
      params: Nothing,
      query: Type.Object({ website_id: Type.Optional(Type.String()) }),
      responses: { 200: FunnelsBody },
      async handle({ query, request }) {
        if (!query.website_id) throw new AppError('invalid_parameter', 'website_id is required');
        const site = await siteFor(query.website_id, request);
        return cacheable(funnelTexts.of(await configs.activeFunnels(site)));
      },
    }),
  ];
}

/** A page that is loaded again within a minute asks nobody; after that the entity tag saves the body. */
function cacheable(body: object): Reply<object> {
  return { status: 200, body, headers: { 'Cache-Control': 'public, max-age=60' } };
}

/** Answers about lists of funnels, written once for as long as a list is the one that is known of its site. */
class FunnelTexts {
  readonly #written = new WeakMap<readonly FunnelRecord[], TextBody>();

  of(list: readonly FunnelRecord[]): TextBody {
    const known = this.#written.get(list);
    if (known !== undefined) return known;
    const body = new TextBody(
      JSON.stringify({ funnels: list.map(funnelBody), total: list.length }),
      'application/json; charset=utf-8',
    );
    this.#written.set(list, body);
    return body;
  }
}

// The tracker copies every key over its own configuration: no key may be added here that is not meant to rule it.
function configBody(
  site: Site,
  goals: readonly ClickGoal[],
  trackedPages: readonly string[],
  sampling: 'server' | 'tracker',
) {
  const { replaySamplingRate: rate } = site;
  return {
    site_id: site.siteId,
    automation_enabled: site.automationEnabled,
    funnel_enabled: site.funnelEnabled,
    heatmap_enabled: site.heatmapEnabled,
    heatmap_include_patterns: site.heatmapIncludePatterns,
    heatmap_exclude_patterns: site.heatmapExcludePatterns,
    max_heatmaps: -1,
    tracked_urls: trackedPages,
    // A rate of 0 means 0.1 to the tracker.
    replay_enabled: site.replayEnabled && rate > 0,
    replay_sampling_rate: sampling === 'server' && rate > 0 ? 1 : rate,
    replay_include_patterns: site.replayIncludePatterns,
    replay_exclude_patterns: site.replayExcludePatterns,
    goals: goals.map(({ id, identifier, selector }) => ({ id, name: identifier, selector })),
  };
}

/** As contract 9.1, without the owner's id. */
function funnelBody(funnel: FunnelRecord) {
  return {
    id: funnel.id,
    websiteId: funnel.siteId,
    name: funnel.name,
    description: funnel.description,
    isActive: true,
    createdAt: funnel.createdAt.toISOString(),
    updatedAt: funnel.updatedAt.toISOString(),
    steps: funnel.steps.map(({ pagePath, eventType, ...step }) => ({
      id: step.id,
      funnelId: funnel.id,
      name: step.name,
      order: step.order,
      stepType: step.stepType,
      ...(pagePath ? { pagePath } : {}),
      ...(eventType ? { eventType } : {}),
      matchType: step.matchType,
    })),
  };
}
