import type { Config } from '../config.js';
import type { Link } from '../supervisor/link.js';
import type { Telemetry } from '../telemetry.js';
import { type RunningNode, startNode } from './node.js';
import { type Place, shareOf } from './place.js';

/** Starts this process as one of several. @throws Error the parent is gone */
export async function startProcess(
  config: Config,
  place: Place,
  link: Link,
  telemetry: Telemetry,
  signal: AbortSignal,
): Promise<RunningNode> {
  const node = await startNode(await shareOf(config, place), telemetry, signal, { place, link });
  link.up({ parts: node.parts, needsSetup: await node.needsSetup() });
  return node;
}
