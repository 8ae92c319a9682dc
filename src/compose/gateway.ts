/** Another program of the operator's in front of this one. */
import { createGateway } from '../auth/gateway.js';
import { type Config, isCloud } from '../config.js';
import type { GateOptions } from '../edge/gate.js';
import type { MetadataStore } from '../storage/metadata/metadata.js';
import type { Telemetry } from '../telemetry.js';

/** What the edge's gate knows of it. */
export function gatewayParts(
  config: Config,
  { users }: Pick<MetadataStore, 'users'>,
  telemetry: Telemetry,
): Pick<GateOptions, 'gateway' | 'serviceKey'> {
  const serviceKey = config.GLOBAL_API_KEY;
  return isCloud(config)
    ? { serviceKey, gateway: createGateway({ key: serviceKey, users, telemetry }) }
    : { serviceKey };
}
