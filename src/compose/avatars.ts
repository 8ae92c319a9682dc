/** Pictures of accounts. */
import { type AvatarService, createAvatarService } from '../avatars/avatar-service.js';
import type { AnyRoute } from '../edge/route.js';
import { avatarRoutes } from '../edge/routes/avatars.js';
import type { MetadataStore } from '../storage/metadata/metadata.js';
import type { ObjectStore } from '../storage/objects/objects.js';
import type { Telemetry } from '../telemetry.js';

export interface AvatarParts {
  /** For whoever deletes accounts. */
  readonly avatars: AvatarService;
  readonly routes: readonly AnyRoute[];
}

export function composeAvatars(
  metadata: MetadataStore,
  objects: ObjectStore,
  { log }: Telemetry,
): AvatarParts {
  const avatars = createAvatarService({ users: metadata.users, objects, log });
  return { avatars, routes: avatarRoutes(avatars) };
}
