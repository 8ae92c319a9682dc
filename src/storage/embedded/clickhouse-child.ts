/**
 * Entry of the child process that becomes a ClickHouse server: the engine library of the npm package is a whole clickhouse-local with
 * the HTTP server inside. It ends when its standard input closes (its last query reads it), so it cannot outlive its parent.
 *
 * Arguments: LIBRARY_PATH, then the arguments of clickhouse-local.
 */
import { DataType, load, open } from 'ffi-rs';

const QUERY =
  "SYSTEM START LISTEN HTTP; SELECT count() FROM file('-', 'LineAsString', 'line String') FORMAT Null";

const [libraryPath, ...engineArgs] = process.argv.slice(2);
if (libraryPath === undefined) {
  console.error('usage: clickhouse-child LIBRARY_PATH [ARGUMENT ...]');
  process.exit(2);
}
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
