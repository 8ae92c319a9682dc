/** What a heat point may be (contract 11.1). */
export const HEAT_TYPES = ['pageview', 'click', 'move', 'scroll', 'rage_click', 'dead_click'] as const;
export type HeatType = (typeof HEAT_TYPES)[number];

export const HEAT_DEVICES = ['desktop', 'tablet', 'mobile'] as const;
export type HeatDevice = (typeof HEAT_DEVICES)[number];
