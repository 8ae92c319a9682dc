/** What an automation does: the words of the visual builder and of the original's API, where each runs, and what they mean. */
import Type from 'typebox';
import { isMailAddress, MAX_RECIPIENTS } from '../mail/mailer.js';
import { isRecord } from '../storage/row.js';
import {
  anyField,
  type Config,
  type Entry,
  entry,
  flagField,
  keyOf,
  numberField,
  numberOf,
  textField,
  textOf,
  wordField,
} from './config-fields.js';

export type WebhookMethod = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** Actions that the server runs. */
export type ServerAction =
  | {
      readonly kind: 'webhook';
      readonly url: string;
      readonly method: WebhookMethod;
      /** Whether the event's data are sent along. */
      readonly includePayload: boolean;
      readonly headers: Readonly<Record<string, string>>;
      /** Keys that are added to the payload. */
      readonly body: Readonly<Record<string, unknown>>;
    }
  | {
      readonly kind: 'email';
      readonly recipients: readonly string[];
      readonly subject: string;
      readonly body: string;
    }
  | { readonly kind: 'slack'; readonly url: string; readonly text: string }
  | { readonly kind: 'wait'; readonly ms: number };

/** An action that only a browser can run: published under the tracker's name for it, with the keys that the tracker reads and no others. */
export interface BrowserAction {
  readonly kind: 'browser';
  readonly type: string;
  readonly config: Config;
}

export type Action = ServerAction | BrowserAction;

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const;
const MAX_WAIT_MS = 30 * 86_400_000;
const UNITS_MS: Readonly<Record<string, number>> = {
  second: 1_000,
  minute: 60_000,
  hour: 3_600_000,
  day: 86_400_000,
};

const url = textField('Address');
const long = (description: string) => textField(description, 32_768);

const webhook = entry(
  Type.Object({
    url,
    method: wordField('Default POST', [...METHODS, ...METHODS.map((method) => method.toLowerCase())]),
    include_payload: flagField('Whether the event is sent along; default yes'),
    headers: anyField('Further headers, by name'),
    body: anyField('Further keys of the payload'),
  }),
  (_typed, raw): Action => ({
    kind: 'webhook',
    url: textOf(raw.url),
    method: METHODS.find((method) => method === textOf(raw.method).toUpperCase()) ?? 'POST',
    includePayload: raw.include_payload !== false && raw.include_payload !== 'false',
    headers: textsOf(raw.headers),
    body: isRecord(raw.body) ? raw.body : {},
  }),
);

const email = entry(
  Type.Object({
    recipient: textField('Addresses, separated by commas'),
    to: textField('The same'),
    subject: textField('Subject; `{{name}}` is filled in', 500),
    body: long('Text; `{{name}}` is filled in'),
  }),
  (_typed, raw): Action => ({
    kind: 'email',
    recipients: (textOf(raw.recipient) || textOf(raw.to))
      .split(/[,;]/)
      .map((address) => address.trim())
      .filter((address) => address !== ''),
    subject: textOf(raw.subject),
    body: textOf(raw.body),
  }),
);

const slack = entry(
  Type.Object({
    webhook_url: url,
    url,
    message: long('Text; `{{name}}` is filled in'),
    text: long('The same'),
  }),
  (_typed, raw): Action => ({
    kind: 'slack',
    url: textOf(raw.webhook_url) || textOf(raw.url),
    text: textOf(raw.message) || textOf(raw.text),
  }),
);

const wait = entry(
  Type.Object({
    delay_value: numberField('How long', 0, 1e9),
    delay_unit: wordField(
      'Default seconds',
      Object.keys(UNITS_MS).flatMap((unit) => [unit, `${unit}s`]),
    ),
  }),
  (_typed, raw): Action => {
    const unit = UNITS_MS[textOf(raw.delay_unit).replace(/s$/, '')] ?? 1_000;
    return { kind: 'wait', ms: Math.min(MAX_WAIT_MS, (numberOf(raw.delay_value, 0, 1e9) ?? 0) * unit) };
  },
);

/** @param keys what the tracker reads; everything else stays on the server */
function browser(type: string, keys: readonly string[], limit = 2_048): Entry<Action> {
  const fields = Object.fromEntries(keys.map((key) => [key, shown(limit)]));
  return entry(
    Type.Object(fields),
    (_typed, raw): Action => ({
      kind: 'browser',
      type,
      config: Object.fromEntries(keys.filter((key) => raw[key] !== undefined).map((key) => [key, raw[key]])),
    }),
  );
}

function shown(limit: number) {
  return Type.Optional(
    Type.Union([
      Type.String({ maxLength: limit }),
      Type.Number(),
      Type.Boolean(),
      Type.Null(),
      Type.Record(Type.String({ maxLength: 255 }), Type.Unknown(), { maxProperties: 100 }),
    ]),
  );
}

const BUTTONS = ['primaryButton', 'primaryUrl', 'secondaryButton', 'secondaryUrl'];
const CODE = 65_536;

/** By `keyOf` the name. */
const ACTIONS = new Map<string, Entry<Action>>([
  ['webhook', webhook],
  ['email', email],
  ['slack', slack],
  ['wait', wait],
  ['modal', browser('modal', ['title', 'content', ...BUTTONS, 'customHtml', 'customCss', 'customJs'], CODE)],
  [
    'banner',
    browser(
      'banner',
      [
        ...['content', 'position', 'icon', 'backgroundColor', 'textColor', ...BUTTONS],
        ...['duration', 'closeButton', 'customHtml', 'customCss', 'customJs'],
      ],
      CODE,
    ),
  ],
  ['notification', browser('notification', ['title', 'message', 'type', 'position', 'duration'], CODE)],
  ['redirect', browser('redirect', ['url', 'delay', 'newTab'])],
  ['javascript', browser('script', ['code', 'position'], CODE)],
  ['script', browser('script', ['code', 'script', 'position'], CODE)],
  ['hideelement', browser('hideElement', ['selector', 'display_type'])],
  ['showelement', browser('showElement', ['selector', 'display_type'])],
  ['trackevent', browser('trackEvent', ['event_name', 'properties'], CODE)],
  ['setcookie', browser('setCookie', ['cookie_name', 'cookie_value', 'expiration_days'])],
]);

/** The vocabulary's entry of an action type, in any spelling of either vocabulary; undefined when there is none. */
export const actionEntry = (type: string): Entry<Action> | undefined => ACTIONS.get(keyOf(type));

/** Headers that are ours, or decide how the request is read. */
const OWN_HEADERS =
  /^(host|content-(length|type)|transfer-encoding|connection|upgrade|te|trailer|expect|keep-alive|idempotency-key|proxy-.*|x-seentics-.*)$/i;
const MAX_HEADERS = 20;

/**
 * What is wrong with an action beyond its fields' types, so that it could never run: '' when nothing is. Fields that are not filled in
 * yet are no error (the builder saves drafts) but are told by `gapOf`.
 */
export function flawOf(action: Action): string {
  switch (action.kind) {
    case 'webhook':
      return (action.url === '' ? '' : flawOfUrl(action.url)) || flawOfHeaders(action.headers);
    case 'slack':
      return action.url === '' ? '' : flawOfUrl(action.url);
    case 'email':
      // No `{{name}}` here: whoever can send events would choose who gets mail from this server.
      if (action.recipients.length > MAX_RECIPIENTS) return `more than ${MAX_RECIPIENTS} recipients`;
      return action.recipients.every(isMailAddress) ? '' : 'recipient is not a mail address';
    default:
      return '';
  }
}

/** What is still missing for the action to run, '' when nothing is. */
export function gapOf(action: Action): string {
  if (action.kind === 'webhook' && action.url === '') return 'the webhook has no url';
  if (action.kind === 'slack' && action.url === '') return 'the slack action has no webhook_url';
  if (action.kind === 'email' && action.recipients.length === 0) return 'the email has no recipient';
  return '';
}

function flawOfUrl(text: string): string {
  // The host is fixed by the owner; only what comes behind it may be filled in.
  const origin = /^https?:\/\/[^/?#\s{}\\]+/i.exec(text)?.[0];
  if (origin === undefined || !URL.canParse(text)) return 'url must be an http(s) address with a fixed host';
  const { username, password } = new URL(text);
  return username === '' && password === '' ? '' : 'url must not hold a user name or password';
}

function flawOfHeaders(headers: Readonly<Record<string, string>>): string {
  const names = Object.keys(headers);
  if (names.length > MAX_HEADERS) return `more than ${MAX_HEADERS} headers`;
  for (const name of names) {
    if (!/^[\w!#$%&'*+.^`|~-]{1,100}$/.test(name)) return 'a header has a name that is not allowed';
    if (OWN_HEADERS.test(name)) return `header ${name} is set by the server`;
    if (!/^[\t\x20-\x7e]{0,4096}$/.test(headers[name] ?? ''))
      return `header ${name} has a value that is not allowed`;
  }
  return '';
}

function textsOf(value: unknown): Record<string, string> {
  if (!isRecord(value)) return {};
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, text]) =>
      typeof text === 'string' || typeof text === 'number' ? [[name, String(text)]] : [],
    ),
  );
}
