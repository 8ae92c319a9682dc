import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Guard, type Guarded, logTail, repositoryRoot, untilServing } from './guard.js';
import { freePort } from './ports.js';
import { descendants, type ProcessInfo } from './process-tree.js';

export interface ProgramOptions {
  readonly dataDir: string;
  /**
   * Settings besides `PORT` and `DATA_DIR`; rate limits are off unless set here, for tests poll. Nothing of the test's own
   * environment but PATH and HOME is passed on.
   */
  readonly env?: Readonly<Record<string, string>>;
  readonly port?: number;
  /** Budget for `/ready`, default 90,000 ms. */
  readonly startTimeoutMs?: number;
}

const unlimited = { RATE_LIMIT_INGEST: '0', RATE_LIMIT_AUTH: '0', RATE_LIMIT_API: '0' };

/** The real program, running. */
export class Program {
  /** What it left when it was last ended: every child it had at that moment. */
  lastChildren: readonly ProcessInfo[] = [];

  private constructor(
    private readonly guard: Guard,
    private readonly options: ProgramOptions,
    readonly port: number,
    private process: Guarded,
  ) {}

  /** Starts `dist/main.js` and waits until `/ready` answers 200. */
  static async start(guard: Guard, options: ProgramOptions): Promise<Program> {
    const port = options.port ?? (await freePort());
    const program = new Program(guard, options, port, launch(guard, options, port));
    await program.#untilReady();
    return program;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get pid(): number {
    return this.process.pid;
  }

  get running(): boolean {
    return this.process.running();
  }

  /** Exit code of the ended process; null after a signal or while it runs. */
  get exitCode(): number | null {
    return this.process.child.exitCode;
  }

  /** Everything the present process wrote to standard output and error. */
  log(): Promise<string> {
    return readFile(this.process.logFile, 'utf8');
  }

  /** The end of the log on standard output, for `onTestFailed`. */
  async showLog(): Promise<void> {
    console.log(`log of ${this.url}:\n${(await this.log()).slice(-6_000)}`);
  }

  children(): Promise<ProcessInfo[]> {
    return descendants(this.process.pid);
  }

  /** Orderly end; returns how many ms it took. */
  async stop(signal: 'SIGTERM' | 'SIGINT' = 'SIGTERM'): Promise<number> {
    this.lastChildren = await this.children();
    const start = performance.now();
    await this.process.end(signal);
    return performance.now() - start;
  }

  /** `kill -9` of the main process alone. */
  async kill9(): Promise<void> {
    this.lastChildren = await this.children();
    await this.process.end('SIGKILL');
  }

  /** Starts it again on the same port and data; returns how many ms it took until `/ready`. */
  async restart(): Promise<number> {
    const start = performance.now();
    this.process = launch(this.guard, this.options, this.port);
    await this.#untilReady();
    return performance.now() - start;
  }

  async #untilReady(): Promise<void> {
    const probe = async () => {
      const answer = await fetch(`${this.url}/ready`, { signal: AbortSignal.timeout(5_000) });
      await answer.arrayBuffer();
      return answer.ok;
    };
    try {
      await untilServing(
        this.process,
        'the program to be ready',
        probe,
        this.options.startTimeoutMs ?? 90_000,
      );
    } catch (error) {
      throw new Error(`the program did not get ready:\n${await logTail(this.process, 4_000)}`, {
        cause: error,
      });
    }
  }
}

function launch(guard: Guard, options: ProgramOptions, port: number): Guarded {
  const main = join(repositoryRoot, 'dist/main.js');
  if (!existsSync(main)) throw new Error('dist/main.js is missing: npm run build');
  const { PATH = '', HOME = '' } = process.env;
  const env = { ...unlimited, PATH, HOME, PORT: `${port}`, DATA_DIR: options.dataDir, ...options.env };
  return guard.start('program', process.execPath, ['--enable-source-maps', main], { env });
}
