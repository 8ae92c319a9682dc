/** The tracker writes it second in the body, behind the site's id. */
const HEAD_BYTES = 1_024;
const SESSION_ID = /"session_id"\s*:\s*"([A-Za-z0-9_.:-]{1,255})"/;

/** The session id of an upload without parsing it; '' when it is not where the tracker writes it or not of a plain form. */
export function scanSessionId(body: Uint8Array): string {
  const head = Buffer.from(body.buffer, body.byteOffset, Math.min(body.byteLength, HEAD_BYTES));
  return SESSION_ID.exec(head.toString('latin1'))?.[1] ?? '';
}
