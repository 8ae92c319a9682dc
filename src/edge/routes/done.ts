import Type from 'typebox';

/** The original's answer where there is nothing to tell but that it was done. */
export const Done = Type.Object({ status: Type.Literal('success') });

/** Waits for the work, then says so. */
export async function done(work: Promise<void>) {
  await work;
  return { status: 200, body: { status: 'success' } } as const;
}
