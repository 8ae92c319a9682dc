import { describe } from 'vitest';
import { Guard } from '../support/guard.js';
import { programBackend } from './replay/program-backend.js';
import { replayScenarios } from './replay/scenarios.js';

describe('recordings that the program took, stored and gave back', () => {
  replayScenarios(programBackend, () => Guard.start());
});
