import type { FunnelEventRow } from '../events/row-decoder.js';
import { UnknownFacts } from './facts.js';
import type { Occasion } from './plan.js';
import type { FunnelMoment } from './server-rules.js';

/** What a funnel event tells: who and where in the funnel, nothing of page or device. */
export class FunnelFacts extends UnknownFacts {
  constructor(readonly row: FunnelEventRow) {
    super();
  }

  moment(): FunnelMoment {
    const { row } = this;
    return {
      funnelId: row.funnel_id.toLowerCase(),
      eventType: row.event_type,
      currentStep: row.current_step,
      stepName: row.step_name,
    };
  }

  occasion(): Occasion {
    const { row } = this;
    return {
      siteId: row.site_id,
      visitorId: row.visitor_id,
      sessionId: row.session_id,
      at: row.timestamp,
      data: {
        ...{
          event_type: `funnel_${row.event_type}`,
          page: '',
          visitor_id: row.visitor_id,
          session_id: row.session_id,
        },
        properties: { funnel_id: row.funnel_id, step: row.current_step, step_name: row.step_name },
        timestamp: new Date(row.timestamp).toISOString(),
      },
    };
  }

  override eventProperty(name: string): string | null {
    const values: Readonly<Record<string, string>> = {
      funnel_id: this.row.funnel_id,
      step: String(this.row.current_step),
      step_name: this.row.step_name,
    };
    return Object.hasOwn(values, name) ? (values[name] ?? null) : null;
  }
}
