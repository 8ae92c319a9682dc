/**
 * Imports point one way: main -> edge -> domain -> storage interfaces.
 * Storage, enrichment and the domain know nothing of HTTP; nothing but the composition root knows the adapters.
 */
const from = (path, pathNot) => ({ path, ...(pathNot ? { pathNot } : {}) });
module.exports = {
  forbidden: [
    {
      name: 'no-cycles',
      severity: 'error',
      from: {},
      to: { circular: true, dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'only-main-and-edge-import-edge',
      severity: 'error',
      from: from('^src/', '^src/(edge/|main\\.ts|compose/)'),
      to: { path: '^src/edge/' },
    },
    {
      name: 'nothing-imports-main',
      severity: 'error',
      from: from('^src/', '^src/compose/'),
      to: { path: '^src/(main\\.ts|compose/)', pathNot: '^src/compose/' },
    },
    {
      name: 'storage-imports-no-actors',
      severity: 'error',
      from: from('^src/storage/'),
      to: { path: '^src/(actors|enrich)/' },
    },
    {
      name: 'enrich-is-pure',
      severity: 'error',
      from: from('^src/enrich/'),
      to: { path: '^src/(actors|storage|auth)/' },
    },
    {
      name: 'domain-imports-no-adapters',
      severity: 'error',
      from: from(
        '^src/(events|metrics|goals|funnels|automations|mail|net|websites|auth|avatars|sharing|notifications|contact|billing)/',
      ),
      to: { path: '^src/(actors|edge)/' },
    },
    {
      name: 'supervisor-knows-no-node',
      severity: 'error',
      from: from('^src/supervisor/'),
      to: { path: '^src/', pathNot: '^src/(supervisor/|telemetry\\.ts)' },
    },
    {
      name: 'no-deprecated-core',
      severity: 'error',
      from: {},
      to: { dependencyTypes: ['core'], path: '^(punycode|domain|constants|sys)$' },
    },
  ],
  options: {
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
  },
};
