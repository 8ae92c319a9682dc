/**
 * Entry of the child process that becomes a ClickHouse server: the engine library of the npm package is a whole clickhouse-local with
 * the HTTP server inside. It ends when its standard input closes (its last query reads it), so it cannot outlive its parent.
 *
 * Arguments: LIBRARY_PATH, then the arguments of clickhouse-local.
 */
import { createRequire } from 'node:module';
import { giveWay } from './give-way.js';

const NICENESS = 10;
const QUERY =
  "SYSTEM START LISTEN HTTP; SELECT count() FROM file('-', 'LineAsString', 'line String') FORMAT Null";

/** What is used of `ffi-rs`: an optional package, so its types may be absent when this is compiled. */
interface Ffi {
  open(library: { library: string; path: string }): void;
  load(call: {
    library: string;
    funcName: string;
    retType: number;
    paramsType: readonly number[];
    paramsValue: readonly unknown[];
  }): unknown;
  readonly DataType: { readonly External: number; readonly I32: number; readonly StringArray: number };
}

function isFfi(value: unknown): value is Ffi {
  return (
    typeof value === 'object' && value !== null && 'open' in value && 'load' in value && 'DataType' in value
  );
}

const ffi: unknown = createRequire(import.meta.url)('ffi-rs');
if (!isFfi(ffi)) throw new Error('this version of ffi-rs is not known');
const { open, load, DataType } = ffi;

const [libraryPath, ...engineArgs] = process.argv.slice(2);
if (libraryPath === undefined) {
  console.error('usage: clickhouse-child LIBRARY_PATH [ARGUMENT ...]');
  process.exit(2);
}
// Where both want the processor, answering a browser goes before inserting and merging what is already durable.
giveWay(NICENESS);
open({ library: 'chdb', path: libraryPath });
const args = ['clickhouse', ...engineArgs, '--query', QUERY];
const result = load({
  library: 'chdb',
  funcName: 'chdb_query_cmdline',
  retType: DataType.External,
  paramsType: [DataType.I32, DataType.StringArray],
  paramsValue: [args.length, args],
});
load({
  library: 'chdb',
  funcName: 'chdb_result_error',
  retType: DataType.External,
  paramsType: [DataType.External],
  paramsValue: [result],
});
process.exit(0);
