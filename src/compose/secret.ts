import { createHash, randomBytes } from 'node:crypto';
import { mkdir, open, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * The secret that signs tokens: the configured one, else one made on the first start and kept in the data folder, readable by its owner
 * only, so that sessions survive restarts.
 */
export async function signingSecret(configured: string | undefined, dataDir: string): Promise<string> {
  if (configured !== undefined) return stretched(configured);
  const path = join(dataDir, 'jwt-secret');
  await mkdir(dataDir, { recursive: true });
  try {
    const file = await open(path, 'wx', 0o600);
    try {
      const secret = randomBytes(48).toString('base64url');
      await file.writeFile(secret);
      await file.datasync();
      return secret;
    } finally {
      await file.close();
    }
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
  const secret = (await readFile(path, 'utf8')).trim();
  if (secret.length < 32)
    throw new Error(`${path} holds no usable secret: remove it to get a new one (all sessions end)`);
  return secret;
}

/** Production refuses a short secret (config.ts); elsewhere, as with the original, one of any length works. */
function stretched(secret: string): string {
  return secret.length >= 32 ? secret : createHash('sha256').update(secret).digest('hex');
}
