import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';
import { truncates } from 'bcryptjs';

const BCRYPTJS = createRequire(import.meta.url).resolve('bcryptjs');

// bcrypt in JavaScript takes about 100 ms of a core; on the main thread that would hold up every request. Such hashes come from the
// original only and go at the account's next login, so a thread for each computation is cheap enough.
const PROGRAM = `
const { parentPort, workerData } = require('node:worker_threads');
parentPort.postMessage(require(workerData.module).compareSync(workerData.password, workerData.hash));`;

export const isBcrypt = (hash: string): boolean => /^\$2[abxy]?\$\d\d\$.{53}$/.test(hash);

/** bcrypt reads 72 bytes: no hash was made of a longer password (the original refused them), but many would match. */
export const mayBeBcrypted = (password: string): boolean => !truncates(password);

/** Whether a bcrypt hash was made of this password, which must not be too long for it. */
export async function verifyBcrypt(hash: string, password: string): Promise<boolean> {
  const worker = new Worker(PROGRAM, { eval: true, workerData: { module: BCRYPTJS, hash, password } });
  return new Promise<boolean>((resolve, reject) => {
    worker.once('message', (same: unknown) => resolve(same === true));
    worker.once('error', reject);
    worker.once('exit', () => reject(new Error('the bcrypt thread ended without an answer')));
  });
}
