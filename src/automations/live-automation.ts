import type { PlannedStep } from '../storage/metadata/executions.js';
import type { AutomationInput } from './automation.js';
import type { Condition } from './conditions.js';
import type { Definition } from './definition.js';

/** An active automation whose words are understood. */
export interface LiveAutomation {
  readonly definition: Definition;
  /** The actions that the server runs, as they are stored. */
  readonly planned: readonly PlannedStep[];
  /** Its conditions with the words they are stored in. */
  readonly conditions: readonly { readonly condition: Condition; readonly worded: WordedCondition }[];
}

export type WordedCondition = AutomationInput['conditions'][number];
