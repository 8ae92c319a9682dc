/**
 * Which kind of site a traffic source is, after the source categories that Google publishes for the default channel group of Google
 * Analytics ("[GA4] Default channel group", support.google.com/analytics/answer/9756891), shortened to the sites that are met in
 * practice, and with today's AI assistants. A name without a dot stands for `utm_source=name` and for `name.<any public suffix>`; a
 * name with a dot for that host and its subdomains.
 */
export type SourceKind = 'search' | 'social' | 'video' | 'shopping' | 'ai';

const TABLE: Readonly<Record<SourceKind, string>> = {
  ai: `chatgpt chatgpt.com chat.openai.com openai openai.com gemini gemini.google.com bard.google.com notebooklm.google.com claude claude.ai
    perplexity perplexity.ai copilot copilot.microsoft.com copilot.cloud.microsoft m365.cloud.microsoft deepseek chat.deepseek.com deepseek.com mistral chat.mistral.ai
    grok grok.com meta.ai poe.com you.com phind.com pi.ai kimi.com kimi.moonshot.cn doubao.com chat.qwen.ai character.ai manus.im
    felo.ai genspark.ai chatglm.cn yuanbao.tencent.com iask.ai komo.ai andisearch.com`,
  search: `google bing yahoo duckduckgo yandex ya.ru baidu ecosia qwant startpage ixquick naver daum seznam ask aol sogou so.com 360.cn sm.cn
    haosou.com dogpile mojeek swisscows search.brave.com brave lycos kagi yep.com presearch rambler virgilio excite metager metacrawler webcrawler
    search.com search-results.com alltheweb altavista alice avg babylon biglobe centrum.cz cnn comcast conduit coccoc eniro exalead
    fireball gigablast givewater.com globososo goo.ne.jp incredimail info.com infospace izito kvasir lilo.org lukol myway mywebsearch najdi
    nate.com oceanhero.today onet onet.pl petalsearch.com qwantjunior rakuten.co.jp search.smt.docomo.ne.jp sapo.pt searchencrypt.com
    searchlock.com sesame startsiden startsiden.no szukacz tut.by terra tiger.ch tonline toppreise.ch t-online.de ukr.net gibiru.com
    voila wp.pl xapads.com yippy youdao zapmeta zoeken.nl vinden.nl searx searxng you-search mail.ru go.mail.ru so-net.ne.jp auone.jp au.com
    suche.t-online.de suche.web.de suche.gmx.net`,
  social: `facebook fb instagram ig threads threads.net twitter x.com t.co linkedin lnkd.in reddit redd.it pinterest pin.it tumblr quora snapchat
    vk vkontakte vk.com ok.ru odnoklassniki weibo wechat weixin qq qzone qzone.qq.com whatsapp whatsapp.com wa.me telegram telegram.org t.me discord
    discord.com messenger messenger.com line line.me viber kakao kakaotalk story.kakao.com mastodon mastodon.social bsky bsky.app bluesky news.ycombinator.com
    hackernews producthunt stackoverflow stackexchange stackexchange.com medium medium.com substack blogger blogspot blogspot.com wordpress wordpress.com livejournal xing
    meetup nextdoor ning renren douban zhihu xiaohongshu rednote mixi ameba ameblo.jp hatena plurk foursquare goodreads letterboxd
    last.fm deviantart flickr behance dribbble myspace badoo tagged taringa skyrock gab gab.com parler truthsocial gettr minds.com
    lemmy kbin diaspora friendica slashdot digg fark mix.com scoop.it flipboard getpocket.com pocket disqus tripadvisor yelp trustpilot
    glassdoor groups.google.com plus.google.com plus.url.google.com sites.google.com slack teams teams.microsoft.com skype signal clubhouse tinder bumble buffer hootsuite
    hootsuite.com buff.ly ow.ly lobste.rs dev.to hashnode indiehackers naver-blog blog.naver.com cafe.naver.com`,
  video: `youtube youtu.be youtube.com vimeo dailymotion twitch tiktok netflix hulu disneyplus rumble odysee bitchute bilibili youku iqiyi
    iqiyi.com v.qq.com niconico nicovideo.jp crackle wistia ted ted.com veoh vevo metacafe kick kick.com peertube d.tube douyin kuaishou
    viki utreon jwplayer primevideo max.com hbomax`,
  shopping: `amazon ebay etsy walmart target aliexpress alibaba taobao tmall jd.com pinduoduo temu shein wish rakuten mercadolibre mercadolivre flipkart
    myntra snapdeal lazada shopee zalando otto allegro bol.com cdiscount fnac idealo kelkoo pricerunner pricegrabber pricespy shopping.google.com
    shopping shopping.yahoo.co.jp shopzilla bizrate nextag newegg bestbuy homedepot wayfair overstock shopify shop.app ikea poshmark depop vinted
    gumtree kleinanzeigen.de leboncoin olx craigslist ozon.ru wildberries.ru coupang gmarket 11st.co.kr noon trendyol hepsiburada shopping.naver.com
    skroutz ceneo heureka prisjakt geizhals billiger.de toppreise slickdeals mydealz`,
};

const KIND_OF = new Map<string, SourceKind>();
for (const kind of ['ai', 'search', 'social', 'video', 'shopping'] as const)
  for (const name of TABLE[kind].split(/\s+/)) if (!KIND_OF.has(name)) KIND_OF.set(name, kind);

/** Services of search companies that are no search: their own hosts are plain referrals. */
const NO_SEARCH =
  /^(?:mail|docs|drive|calendar|meet|classroom|accounts|translate|maps|play|photos|cloud|console|support|developers|colab|answers|finance|sports|disk|passport|pan|tieba|zhidao|baike|wenku)\./;

/** Kind of a source that is named in full: `facebook`, `news.ycombinator.com`. */
export function sourceKind(source: string, brandOf: (host: string) => string | null): SourceKind | null {
  const exact = KIND_OF.get(source);
  if (exact !== undefined) return exact;
  if (!source.includes('.')) return null;
  for (let dot = source.indexOf('.'); dot !== -1; dot = source.indexOf('.', dot + 1)) {
    const parent = source.slice(dot + 1);
    const kind = parent.includes('.') ? KIND_OF.get(parent) : undefined;
    if (kind !== undefined) return kind === 'search' && NO_SEARCH.test(source) ? null : kind;
  }
  const brand = KIND_OF.get(brandOf(source) ?? '') ?? null;
  return brand === 'search' && NO_SEARCH.test(source) ? null : brand;
}
