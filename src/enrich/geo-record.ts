/** Reads places out of the records of city databases, whichever of the two common layouts they have. */
import { continentOf } from './continents.js';
import { cut, TEXT_LIMITS } from './text.js';

export interface Place {
  /** ISO 3166-1 alpha-2, upper case; '' unknown. */
  readonly countryCode: string;
  readonly region: string;
  readonly city: string;
  readonly continent: string;
}

export const NOWHERE: Place = { countryCode: '', region: '', city: '', continent: '' };

/**
 * A record of a flat database (`country_code`, `state1`, `city` as text: ip-location-db) or of MaxMind's layout (`country.iso_code`,
 * `subdivisions[0].names.en`, `city.names.en`). Anything unexpected counts as unknown.
 */
export function placeOf(record: unknown): Place {
  const code = countryCode(record);
  if (code === '') return NOWHERE;
  return {
    countryCode: code,
    region: text(field(record, 'state1')) || englishName(first(field(record, 'subdivisions'))),
    city: text(field(record, 'city')) || englishName(field(record, 'city')),
    continent: continentOf(code),
  };
}

function countryCode(record: unknown): string {
  const nested = field(record, 'country') ?? field(record, 'registered_country');
  const code = (text(field(record, 'country_code')) || text(field(nested, 'iso_code'))).toUpperCase();
  return /^[A-Z]{2}$/.test(code) ? code : '';
}

function englishName(value: unknown): string {
  return text(field(field(value, 'names'), 'en'));
}

function field(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined;
  return Object.getOwnPropertyDescriptor(value, name)?.value;
}

function first(value: unknown): unknown {
  return Array.isArray(value) ? value[0] : undefined;
}

function text(value: unknown): string {
  return typeof value === 'string' ? cut(value.replaceAll('\u0000', ''), TEXT_LIMITS.label) : '';
}
