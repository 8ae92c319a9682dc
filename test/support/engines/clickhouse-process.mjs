/**
 * A ClickHouse server out of the npm engine package: `clickhouse-process.mjs DIRECTORY HTTP_PORT TCP_PORT [CONFIG_FILE]`.
 * The package's library is a whole clickhouse-local with the real HTTP and native servers inside. The query reads standard
 * input, so the server ends by itself when its parent goes. Plain JavaScript: loading a compiler would cost each start a third of a second.
 */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { DataType, load, open } from 'ffi-rs';

const [directory = '', httpPort = '', tcpPort = '', configFile] = process.argv.slice(2);
const platform =
  process.platform === 'linux' ? `linux-${process.arch}-gnu` : `${process.platform}-${process.arch}`;
const { resolve } = createRequire(import.meta.url);
const library = join(dirname(resolve(`@chdb/lib-${platform}/package.json`)), 'libchdb.so');
open({ library: 'chdb', path: library });
const args = [
  'clickhouse',
  `--path=${directory}`,
  '--listen_host=127.0.0.1',
  `--http_port=${httpPort}`,
  `--tcp_port=${tcpPort}`,
  ...(configFile === undefined ? [] : [`--config-file=${configFile}`]),
  '--query',
  "SYSTEM START LISTEN HTTP; SYSTEM START LISTEN TCP; SELECT count() FROM file('-','LineAsString','l String') FORMAT Null",
];
load({
  library: 'chdb',
  funcName: 'chdb_query_cmdline',
  retType: DataType.External,
  paramsType: [DataType.I32, DataType.StringArray],
  paramsValue: [args.length, args],
});
process.exit(0);
