import { randomUUID } from 'node:crypto';
import type { Mailer } from '../mail/mailer.js';
import type { User } from '../storage/metadata/metadata.js';
import type { Logger } from '../telemetry.js';

export interface AddressNoticeOptions {
  readonly mailer: Mailer;
  /** Where the dashboard is. */
  readonly frontendUrl: string;
  readonly log: Logger;
}

/**
 * Tells the former address of an account that another one is in its place, behind the answer: whoever took over a session could else have
 * the account for good, by a new password that goes to the new address. Nothing where no mail can be sent.
 */
export type AddressNotice = (before: Pick<User, 'id' | 'email'>) => void;

export function createAddressNotice({ mailer, frontendUrl, log }: AddressNoticeOptions): AddressNotice {
  const text = `The account at ${frontendUrl} that had this address has another one now.

If it was not you, write to whoever runs this instance, and to nobody at the new address.
`;
  const tell = async ({ id, email }: Pick<User, 'id' | 'email'>): Promise<void> => {
    const mail = { to: [email], subject: 'Your address was changed', text, key: randomUUID() };
    const { outcome } = await mailer.send(mail);
    if (outcome !== 'sent')
      log.warn({ userId: id, outcome }, 'an account was not told that its address was changed');
  };
  return (before) => {
    if (mailer.isConfigured) void tell(before);
  };
}
