import { isbot } from 'isbot';

/**
 * HTTP libraries and command-line clients. Said by the request header they mean that a server forwards an event, not that a crawler
 * viewed a page (crawlers that count run the tracker in a browser); said in the event's own `user_agent` they mean what they say.
 */
const CLIENT_LIBRARY =
  /^(node|undici|node-fetch|axios|got|bun|deno|go-http-client|python|aiohttp|httpx|okhttp|java|apache-httpclient|curl|wget|php|guzzlehttp|symfony|laravel|ruby|faraday|rest-client|reqwest|hyper|ureq|dart|\.net|restsharp|postmanruntime|insomnia|httpie|autocannon|libwww-perl|elixir|hackney|finch)\b/i;

const HEADLESS = /headless|phantomjs|puppeteer|playwright|selenium|webdriver/i;

/** Whether the user agent that an event itself carries is of a crawler, a headless browser or a script. */
export function isBotAgent(userAgent: string): boolean {
  return userAgent !== '' && (HEADLESS.test(userAgent) || isbot(userAgent));
}

/** Whether the `User-Agent` header is that of a server-side sender; such a header says nothing about the visitor. */
export function isSenderLibrary(userAgent: string): boolean {
  return CLIENT_LIBRARY.test(userAgent);
}
