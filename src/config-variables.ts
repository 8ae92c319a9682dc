/** How one environment variable is read. Parsers throw Error with a reason; the caller adds the variable's name. */
export interface Variable<T> {
  readonly parse: (text: string | undefined) => T;
  /** As shown in the documentation; '' = unset. */
  readonly shownDefault: string;
  readonly unit: string;
  readonly about: string;
}

interface Common {
  readonly about: string;
  readonly unit?: string;
}

/** A free text with a default. */
export function text(options: Common & { readonly default: string }): Variable<string> {
  return variable(options, options.default, (value) => value ?? options.default);
}

/** A free text that may be unset. */
export function optionalText(options: Common): Variable<string | undefined> {
  return variable(options, '', (value) => value);
}

/** The address of a server, which may be unset. Without scheme or host it would be waited for in vain at a place that no message names. */
export function address(
  options: Common & { readonly pattern: RegExp; readonly example: string },
): Variable<string | undefined> {
  return variable(options, '', (value) => {
    // Servers of a cluster may be separated by commas, which the address of a single one may contain as well.
    const isAddress = (text: string) => options.pattern.test(text) && URL.canParse(text);
    if (value === undefined || isAddress(value) || isAddress(value.split(',')[0] ?? '')) return value;
    throw new Error(
      `must look like ${options.example} (special characters of user and password percent-encoded)`,
    );
  });
}

/** A whole number within bounds. */
export function integer(
  options: Common & { readonly default: number; readonly min: number; readonly max: number },
): Variable<number> {
  return variable(options, String(options.default), (value) => {
    if (value === undefined) return options.default;
    const number = Number(value);
    if (!Number.isInteger(number) || number < options.min || number > options.max) {
      const unit = options.unit === undefined ? '' : ` (${options.unit})`;
      throw new Error(`must be a whole number from ${options.min} to ${options.max}${unit}`);
    }
    return number;
  });
}

/** A whole number from 1, or `auto`: whoever uses it decides what that means. */
export function countOrAuto(
  options: Common & { readonly default: number; readonly max: number },
): Variable<number | 'auto'> {
  return variable(options, String(options.default), (value) => {
    if (value === undefined) return options.default;
    if (value.toLowerCase() === 'auto') return 'auto';
    const number = Number(value);
    if (Number.isInteger(number) && number >= 1 && number <= options.max) return number;
    throw new Error(`must be a whole number from 1 to ${options.max}, or auto`);
  });
}

/** `true`/`1`/`yes`/`on` or `false`/`0`/`no`/`off`. */
export function flag(options: Common & { readonly default: boolean }): Variable<boolean> {
  return variable(options, String(options.default), (value) => {
    if (value === undefined) return options.default;
    if (/^(true|1|yes|on)$/i.test(value)) return true;
    if (/^(false|0|no|off)$/i.test(value)) return false;
    throw new Error('must be true or false');
  });
}

/** A flag that may be unset, so that another one can stand in for it. */
export function optionalFlag(options: Common): Variable<boolean | undefined> {
  const { parse } = flag({ ...options, default: false });
  return variable(options, '', (value) => (value === undefined ? undefined : parse(value)));
}

/** A comma-separated list. */
export function list(options: Common & { readonly default: readonly string[] }): Variable<readonly string[]> {
  return variable(options, options.default.join(','), (value) =>
    value === undefined
      ? options.default
      : value
          .split(',')
          .map((part) => part.trim())
          .filter((part) => part !== ''),
  );
}

/** One of a few words. */
export function choice<const T extends string>(
  options: Common & { readonly default: T; readonly of: readonly T[] },
): Variable<T> {
  return variable(options, options.default, (value) => {
    if (value === undefined) return options.default;
    const found = options.of.find((word) => word === value.toLowerCase());
    if (found === undefined) throw new Error(`must be one of ${options.of.join(', ')}`);
    return found;
  });
}

/** A stretch of time: `15m`, `24h`, `7d`, or plain seconds. Answers seconds. */
export function duration(options: Common & { readonly default: string }): Variable<number> {
  return variable({ unit: 's, or 30s, 15m, 24h, 7d', ...options }, options.default, (value) => {
    const match = /^(\d{1,9})(s|m|h|d)?$/.exec(value ?? options.default);
    const factor = { s: 1, m: 60, h: 3_600, d: 86_400 }[match?.[2] ?? 's'];
    if (!match || factor === undefined) throw new Error('must be a duration such as 900, 15m, 24h or 7d');
    return Number(match[1]) * factor;
  });
}

function variable<T>(
  options: Common,
  shownDefault: string,
  parse: (value: string | undefined) => T,
): Variable<T> {
  return {
    about: options.about,
    unit: options.unit ?? '',
    shownDefault,
    parse: (value) => parse(value === undefined || value.trim() === '' ? undefined : value.trim()),
  };
}
