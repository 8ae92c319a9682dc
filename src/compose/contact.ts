import type { Config } from '../config.js';
import { createContactService } from '../contact/contact-service.js';
import type { AnyRoute } from '../edge/route.js';
import { contactRoutes } from '../edge/routes/contact.js';
import type { Mailer } from '../mail/mailer.js';
import type { Cache } from '../storage/cache/cache.js';
import type { Telemetry } from '../telemetry.js';

/** Messages to the people who run this instance, by mail. */
export function composeContact(
  config: Pick<Config, 'SUPPORT_EMAIL'>,
  mailer: Mailer,
  cache: Cache,
  telemetry: Telemetry,
): readonly AnyRoute[] {
  return contactRoutes(createContactService({ mailer, recipient: config.SUPPORT_EMAIL, cache, telemetry }));
}
