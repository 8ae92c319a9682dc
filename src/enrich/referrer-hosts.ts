/**
 * Hosts that stand for another site: redirectors, short links, mobile and app hosts of well-known sites. Collected from the sites' own
 * documentation and from what browsers send; `site: hosts` by line.
 */
const TABLE = `
x.com: t.co twitter.com mobile.twitter.com m.twitter.com mobile.x.com com.twitter.android
facebook.com: l.facebook.com lm.facebook.com m.facebook.com mbasic.facebook.com touch.facebook.com web.facebook.com fb.me fb.com m.me com.facebook.katana com.facebook.orca
instagram.com: l.instagram.com instagr.am com.instagram.android
threads.net: l.threads.net threads.com l.threads.com
linkedin.com: lnkd.in m.linkedin.com com.linkedin.android
reddit.com: out.reddit.com old.reddit.com new.reddit.com np.reddit.com m.reddit.com i.reddit.com amp.reddit.com redd.it com.reddit.frontpage
youtube.com: m.youtube.com youtu.be music.youtube.com gaming.youtube.com com.google.android.youtube
pinterest.com: pin.it m.pinterest.com com.pinterest
tiktok.com: m.tiktok.com vm.tiktok.com vt.tiktok.com
whatsapp.com: l.wl.co wa.me api.whatsapp.com web.whatsapp.com com.whatsapp
telegram.org: t.me web.telegram.org org.telegram.messenger
discord.com: discordapp.com discord.gg ptb.discord.com canary.discord.com
snapchat.com: t.snapchat.com
vk.com: away.vk.com m.vk.com vk.ru
ok.ru: m.ok.ru
tumblr.com: t.umblr.com href.li
medium.com: link.medium.com
quora.com: m.quora.com
wikipedia.org: m.wikipedia.org en.m.wikipedia.org en.wikipedia.org de.wikipedia.org de.m.wikipedia.org fr.wikipedia.org fr.m.wikipedia.org es.wikipedia.org es.m.wikipedia.org
google.com: com.google.android.googlequicksearchbox com.google.android.apps.searchlite
mail.google.com: com.google.android.gm
news.google.com: com.google.android.apps.magazines
bing.com: cn.bing.com m.bing.com r.msn.com
duckduckgo.com: html.duckduckgo.com lite.duckduckgo.com start.duckduckgo.com com.duckduckgo.mobile.android ddg.gg
yahoo.com: search.yahoo.com r.search.yahoo.com m.yahoo.com us.search.yahoo.com
amazon.com: amzn.to a.co smile.amazon.com m.amazon.com
slack.com: slack-redir.net app.slack.com com.slack
news.ycombinator.com: hn.algolia.com
github.com: m.github.com gist.github.com
flipboard.com: flip.it
weibo.com: m.weibo.cn t.cn weibo.cn
chatgpt.com: chat.openai.com
gemini.google.com: bard.google.com
`;

const SITE_OF = new Map<string, string>();
for (const line of TABLE.trim().split('\n')) {
  const [site = '', hosts = ''] = line.split(': ');
  for (const host of hosts.split(' ')) SITE_OF.set(host, site);
}

/** The site a referrer host stands for: without `www.`, and folded by the table. */
export function foldReferrerHost(host: string): string {
  const bare = host.startsWith('www.') ? host.slice(4) : host;
  return SITE_OF.get(bare) ?? bare;
}
