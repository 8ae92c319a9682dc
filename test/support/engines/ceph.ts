import { randomBytes, randomUUID } from 'node:crypto';
import { access, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Guard, run, untilServing } from '../guard.js';
import { type Installed, programPath } from '../installed.js';
import { freePorts } from '../ports.js';

export interface S3Server {
  readonly endpoint: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** Whether an S3 server answers under the URL. */
export async function s3Answers(endpoint: string): Promise<boolean> {
  const answer = await fetch(endpoint, { signal: AbortSignal.timeout(2_000) }).catch(() => undefined);
  return answer !== undefined && (await answer.text()).includes('ListAllMyBucketsResult');
}

/** A cephx key as the keyring file wants it: type 1, creation time, length, 16 random bytes. */
function cephxKey(): string {
  const head = Buffer.alloc(12);
  head.writeUInt16LE(1, 0);
  head.writeUInt32LE(Math.floor(Date.now() / 1000), 2);
  head.writeUInt16LE(16, 10);
  return Buffer.concat([head, randomBytes(16)]).toString('base64');
}

const keyring = (names: readonly string[]) =>
  names
    .map((name) => {
      const caps = ['mon', 'osd', 'mgr', 'mds'].map((part) => `caps ${part} = "allow *"`);
      return [`[${name}]`, `key = ${cephxKey()}`, ...caps, ''].join('\n');
    })
    .join('');

/** Settings that say where the store's classes are: Debian 13's package looks for them relative to the working directory. */
async function classes(): Promise<Record<string, string>> {
  const libraries = [
    '/usr/lib64',
    '/usr/lib',
    ...(await readdir('/usr/lib')).map((name) => `/usr/lib/${name}`),
  ];
  for (const library of libraries) {
    const found = join(library, 'rados-classes');
    if (
      await access(found).then(
        () => true,
        () => false,
      )
    )
      return { 'osd class dir': found };
  }
  return {};
}

function configuration(
  directory: string,
  fsid: string,
  monitor: string,
  bindFrom: number,
  endpointPort: number,
  classSettings: Record<string, string>,
): string {
  const settings = {
    ...classSettings,
    fsid,
    'mon host': monitor,
    'auth allow insecure global id reclaim': true,
    'public addr': '127.0.0.1',
    'cluster addr': '127.0.0.1',
    'ms bind ipv6': false,
    'ms bind port min': bindFrom,
    'ms bind port max': bindFrom + 400,
    'osd pool default size': 1,
    'osd pool default min size': 1,
    'osd pool default pg num': 1,
    'osd pool default pgp num': 1,
    'osd crush chooseleaf type': 0,
    'mon allow pool size one': true,
    'mon data avail crit': 1,
    // Each pool of the gateway is a proposal of its own, and by default they come a second apart.
    'paxos propose interval': 0.02,
    'paxos min wait': 0.01,
    'osd objectstore': 'memstore',
    'memstore device bytes': '2G',
    'osd max object name len': 256,
    'run dir': `${directory}/run`,
    'admin socket': `${directory}/run/$name.asok`,
    'log file': `${directory}/$name.log`,
    'mon cluster log file': `${directory}/cluster.log`,
    keyring: `${directory}/keyring`,
    'mon data': `${directory}/mon`,
    'osd data': `${directory}/osd`,
    'rgw data': `${directory}/rgw`,
    'rgw frontends': `beast endpoint=127.0.0.1:${endpointPort}`,
    'rgw enable usage log': false,
  };
  return ['[global]', ...Object.entries(settings).map(([key, value]) => `${key} = ${value}`), ''].join('\n');
}

/** A one-node Ceph object gateway (S3) of its own: monitor, one in-memory store, gateway. Ready in about a second. */
export async function startS3(guard: Guard, installed: Installed): Promise<S3Server> {
  const [v2 = 0, v1 = 0, gatewayPort = 0] = await freePorts(3);
  const directory = join(guard.directory, `ceph-${gatewayPort}`);
  for (const part of ['mon', 'osd', 'run', 'rgw']) await mkdir(join(directory, part), { recursive: true });
  const fsid = randomUUID();
  const monitor = `[v2:127.0.0.1:${v2},v1:127.0.0.1:${v1}]`;
  const bindFrom = 20_000 + Math.floor(Math.random() * 10_000);
  const config = join(directory, 'ceph.conf');
  const monmap = join(directory, 'monmap');
  const keys = join(directory, 'keyring');
  await writeFile(config, configuration(directory, fsid, monitor, bindFrom, gatewayPort, await classes()));
  await writeFile(keys, keyring(['mon.', 'client.admin', 'client.rgw', 'osd.0']));
  const start = (program: 'ceph-mon' | 'ceph-osd' | 'radosgw', ...args: string[]) =>
    guard.start(program, programPath(installed, program), ['-c', config, '-f', ...args], {
      endWith: 'SIGKILL',
    });
  const mon = programPath(installed, 'ceph-mon');
  const osd = programPath(installed, 'ceph-osd');
  const patient = { timeoutMs: 90_000 };

  await run('monmaptool', ['--create', '--clobber', '--addv', 'a', monitor, '--fsid', fsid, monmap]);
  await run(mon, ['-c', config, '-i', 'a', '--mkfs', '--monmap', monmap, '--keyring', keys]);
  start('ceph-mon', '-i', 'a');
  const osdId = randomUUID();
  await run('ceph', ['-c', config, 'osd', 'new', osdId], patient);
  await run(osd, ['-c', config, '-i', '0', '--mkfs', '--osd-uuid', osdId]);
  start('ceph-osd', '-i', '0');
  const accessKeyId = randomBytes(10).toString('hex').toUpperCase();
  const secretAccessKey = randomBytes(20).toString('hex');
  const user = [
    '--uid=test',
    '--display-name=test',
    `--access-key=${accessKeyId}`,
    `--secret-key=${secretAccessKey}`,
  ];
  await run('radosgw-admin', ['-c', config, 'user', 'create', ...user], patient);
  const endpoint = `http://127.0.0.1:${gatewayPort}`;
  const gateway = start('radosgw', '-n', 'client.rgw');
  await untilServing(gateway, 'the S3 gateway to answer', () => s3Answers(endpoint), 90_000);
  return { endpoint, accessKeyId, secretAccessKey };
}
