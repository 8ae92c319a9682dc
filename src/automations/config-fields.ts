/**
 * Fields of trigger, condition and action configs. The visual builder saves what its form holds: texts where numbers are meant, empty
 * texts and null where nothing was entered, and keys of its own beside. So every field may be missing, null or empty; what is there must fit.
 */
import Type, { type Static, type TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import { isRecord } from '../storage/row.js';

export type Config = Readonly<Record<string, unknown>>;

/** A field that may be missing, null or empty. */
const unset = <T extends TSchema>(schema: T, description: string) =>
  Type.Optional(Type.Union([schema, Type.Null(), Type.Literal('')], { description }));

/** A text of at most `max` characters. */
export const textField = (description: string, max = 2_048) =>
  unset(Type.String({ maxLength: max }), description);

/** A number, as such or as text. */
export const numberField = (description: string, minimum: number, maximum: number) =>
  unset(
    Type.Union([Type.Number({ minimum, maximum }), Type.String({ pattern: '^-?\\d{1,12}(\\.\\d{1,6})?$' })]),
    description,
  );

/** A switch, as such or as text. */
export const flagField = (description: string) =>
  unset(Type.Union([Type.Boolean(), Type.Literal('true'), Type.Literal('false')]), description);

/** One of some words, or one of their other spellings. */
export const wordField = (description: string, words: readonly string[]) =>
  unset(Type.Union(words.map((word) => Type.Literal(word))), description);

/** A value of any kind, e.g. the body of a webhook. */
export const anyField = (description: string) => Type.Optional(Type.Unknown({ description }));

/** One type of the vocabulary: its config's schema, compiled once, and how the config is read. */
export interface Entry<T> {
  readonly schema: TSchema;
  /** What does not fit, '' when all does. */
  problem(config: unknown): string;
  /** The typed meaning, or undefined when the config does not fit. */
  read(config: unknown): T | undefined;
}

/** Declares a type of the vocabulary. */
export function entry<S extends TSchema, T>(
  schema: S,
  meaning: (config: Static<S>, raw: Config) => T,
): Entry<T> {
  const validator = Compile(schema);
  const fits = (config: unknown): config is Static<S> => validator.Check(config);
  return {
    schema,
    problem(config) {
      if (fits(config)) return '';
      const first = validator.Errors(config)[0];
      const place = first?.instancePath.slice(1).replaceAll('/', '.') ?? '';
      return `${place} ${first?.message ?? 'does not fit'}`.trim();
    },
    read: (config) => (fits(config) && isRecord(config) ? meaning(config, config) : undefined),
  };
}

/** The text of a field; '' when there is none. */
export function textOf(value: unknown): string {
  if (typeof value === 'string') return value.trim();
  return typeof value === 'number' ? String(value) : '';
}

/** The number of a field, within bounds; null when there is none. */
export function numberOf(value: unknown, minimum: number, maximum: number): number | null {
  const number =
    typeof value === 'number'
      ? value
      : typeof value === 'string' && value.trim() !== ''
        ? Number(value)
        : Number.NaN;
  return Number.isFinite(number) ? Math.min(maximum, Math.max(minimum, number)) : null;
}

/** The spelling of a type that tells it apart: the original's names differ in case and underscores only. */
export const keyOf = (type: string): string => type.toLowerCase().replace(/[_-]/g, '');
