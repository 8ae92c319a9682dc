/** Validation at the edge: TypeBox schemas compiled once, problems told by path, nothing of the input repeated in the message. */
import type { Static, TObject, TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import { Convert, Default } from 'typebox/value';
import { AppError } from '../errors.js';

/** One thing that is wrong with the input; `path` is dotted, '' for the whole. */
export interface Problem {
  readonly path: string;
  readonly problem: string;
}

/** Returns the typed value or throws `invalid_request` with the problems as details. */
export type Parse<T> = (value: unknown) => T;

/** Compiles a schema for request bodies: defaults are filled in, nothing is coerced. */
export function compileBody<T extends TSchema>(schema: T): Parse<Static<T>> {
  return compile(schema, 'Invalid request body', (value) => Default(schema, value));
}

/** Compiles a schema for path parameters or query values, which arrive as strings: numbers and booleans are coerced. */
export function compileStrings<T extends TObject>(
  schema: T,
  what: string,
): (values: Readonly<Record<string, string>>) => Static<T> {
  const names = Object.entries(schema.properties).map(([name, property]) => ({
    name,
    emptyIsAbsent: isNumeric(property),
  }));
  const parse = compile(schema, what, (value) => Convert(schema, Default(schema, value)));
  return (values) => {
    const declared: Record<string, string> = {};
    for (const { name, emptyIsAbsent } of names) {
      const value = values[name];
      if (value === undefined || (value === '' && emptyIsAbsent)) continue;
      if (value.includes('\0')) refuse(what, [{ path: name, problem: 'must not contain NUL' }]);
      declared[name] = value;
    }
    return parse(declared);
  };
}

function compile<T extends TSchema>(
  schema: T,
  what: string,
  prepare: (value: unknown) => unknown,
): Parse<Static<T>> {
  const validator = Compile(schema);
  const matches = (value: unknown): value is Static<T> => validator.Check(value);
  return (value) => {
    const prepared = prepare(value);
    if (matches(prepared)) return prepared;
    return refuse(what, validator.Errors(prepared).flatMap(describe));
  };
}

function refuse(what: string, problems: readonly Problem[]): never {
  const first = problems[0];
  const message = first ? `${what}: ${`${first.path} ${first.problem}`.trim()}` : what;
  throw new AppError('invalid_request', message, { details: problems });
}

function describe(error: {
  readonly keyword: string;
  readonly instancePath: string;
  readonly message: string;
  readonly params: object;
}): Problem[] {
  const base = error.instancePath.slice(1).replaceAll('/', '.');
  if ('requiredProperties' in error.params && Array.isArray(error.params.requiredProperties)) {
    return error.params.requiredProperties.map((name) => ({
      path: base === '' ? String(name) : `${base}.${String(name)}`,
      problem: 'is required',
    }));
  }
  return [{ path: base, problem: error.message }];
}

function isNumeric(schema: TSchema): boolean {
  return (
    'type' in schema && (schema.type === 'number' || schema.type === 'integer' || schema.type === 'boolean')
  );
}
