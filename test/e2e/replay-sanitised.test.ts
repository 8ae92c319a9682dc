import { describe } from 'vitest';
import { Guard } from '../support/guard.js';
import { collector } from './replay/collector.js';
import { replayScenarios } from './replay/scenarios.js';

describe('recordings that pass the sanitiser alone', () => {
  replayScenarios(collector, () => Guard.start());
});
