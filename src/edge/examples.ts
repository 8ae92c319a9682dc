/** Examples for the OpenAPI document: a value that a schema takes, with words a reader knows. */

/** By the name of the field or parameter; used where the schema takes them. */
const WORDS: Readonly<Record<string, unknown>> = {
  name: 'Shop',
  email: 'ada@shop.example',
  password: 'correct horse battery',
  newPassword: 'battery horse correct',
  currentPassword: 'correct horse battery',
  url: 'https://shop.example/pricing',
  domain: 'shop.example',
  host: 'shop.example',
  page: '/pricing',
  page_path: '/pricing',
  page_url: 'https://shop.example/pricing?utm_source=newsletter',
  page_title: 'Pricing',
  referrer: 'https://www.google.com/',
  event_type: 'signup',
  visitor_id: '5f0c7f0e-6c1f-4f57-9d3a-0d6f3f4a1b2c',
  session_id: '8d1f1a52-3b8c-4f0a-8f64-6a2b7c9d0e1f',
  website_id: '65f1c0ffee5eaf00d15ea5e5',
  websiteId: '65f1c0ffee5eaf00d15ea5e5',
  site_id: '65f1c0ffee5eaf00d15ea5e5',
  siteId: '65f1c0ffee5eaf00d15ea5e5',
  timezone: 'Europe/Zurich',
  country: 'Switzerland',
  code: 'CH',
  browser: 'Firefox',
  device: 'Desktop',
  os: 'Linux',
  channel: 'Organic Search',
  source: 'Organic Search',
  utm_source: 'newsletter',
  utm_medium: 'email',
  utm_campaign: 'spring',
  user_agent: 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
  language: 'de-CH',
  from: '2026-01-01',
  to: '2026-01-31',
  date: '2026-01-31',
  timestamp: '2026-01-31T12:00:00.000Z',
  message: 'Done',
  error: 'Website not found',
};

const UUID = '0b7e7a52-9d0a-4c58-a5b4-2f1d0c9b8a76';
const FORMATS: Readonly<Record<string, string>> = {
  'date-time': '2026-01-31T12:00:00.000Z',
  date: '2026-01-31',
  email: 'ada@shop.example',
  uuid: UUID,
  uri: 'https://shop.example/',
  hostname: 'shop.example',
};
/** Tried in turn where a pattern must be met. */
const TEXTS = [
  'example',
  UUID,
  '65f1c0ffee5eaf00d15ea5e5',
  '0'.repeat(32),
  '2026-01-31',
  '2026-01',
  '12:00',
  '1',
  'ab',
];

const MAX_DEPTH = 12;

/**
 * @param schema JSON schema as TypeBox makes it
 * @param name of the field or parameter, for a fitting word
 */
export function exampleOf(schema: unknown, name = '', depth = 0): unknown {
  if (!isRecord(schema) || depth > MAX_DEPTH) return {};
  const given = list(schema.examples)[0] ?? schema.default ?? schema.const;
  if (given !== undefined) return given;
  if (schema.enum !== undefined) return list(schema.enum)[0];
  const choices = [...list(schema.anyOf), ...list(schema.oneOf)];
  if (choices.length > 0) return exampleOf(choices.find((it) => !isNull(it)) ?? choices[0], name, depth + 1);
  const parts = list(schema.allOf);
  if (parts.length > 0) return Object.assign({}, ...parts.map((part) => exampleOf(part, name, depth + 1)));
  switch (schema.type) {
    case 'object':
      return objectExample(schema, depth);
    case 'array':
      return arrayExample(schema, name, depth);
    case 'integer':
    case 'number':
      return numberExample(schema);
    case 'boolean':
      return true;
    case 'null':
      return null;
    case 'string':
      return textExample(schema, name);
    default:
      return WORDS[name] ?? {};
  }
}

function objectExample(schema: Readonly<Record<string, unknown>>, depth: number): Record<string, unknown> {
  const fields = isRecord(schema.properties) ? Object.entries(schema.properties) : [];
  return Object.fromEntries(fields.map(([name, field]) => [name, exampleOf(field, name, depth + 1)]));
}

function arrayExample(schema: Readonly<Record<string, unknown>>, name: string, depth: number): unknown[] {
  const least = typeof schema.minItems === 'number' ? schema.minItems : 1;
  const most = typeof schema.maxItems === 'number' ? schema.maxItems : 1;
  const item = exampleOf(schema.items, name.replace(/s$/, ''), depth + 1);
  return Array.from({ length: Math.max(least, Math.min(1, most)) }, () => item);
}

function numberExample(schema: Readonly<Record<string, unknown>>): number {
  const least = typeof schema.minimum === 'number' ? schema.minimum : 0;
  const most = typeof schema.maximum === 'number' ? schema.maximum : Number.MAX_SAFE_INTEGER;
  return Math.min(Math.max(least, 1), most);
}

function textExample(schema: Readonly<Record<string, unknown>>, name: string): string {
  const word = WORDS[name];
  const format = typeof schema.format === 'string' ? FORMATS[schema.format] : undefined;
  const candidates = [format, word, ...TEXTS].filter((it) => typeof it === 'string');
  const fitting = candidates.find((text) => takes(schema, text));
  if (fitting !== undefined) return fitting;
  const least = typeof schema.minLength === 'number' ? schema.minLength : 0;
  return 'x'.repeat(least);
}

function takes(schema: Readonly<Record<string, unknown>>, text: string): boolean {
  const { pattern, minLength, maxLength } = schema;
  if (typeof minLength === 'number' && text.length < minLength) return false;
  if (typeof maxLength === 'number' && text.length > maxLength) return false;
  // Patterns of our own schemas, on our own words.
  return typeof pattern !== 'string' || new RegExp(pattern, 'u').test(text);
}

const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const isNull = (schema: unknown): boolean => isRecord(schema) && schema.type === 'null';

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
