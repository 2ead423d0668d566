#!/usr/bin/env bash
# Type-checks and tests against the newest line of OpenTelemetry, in a folder of its own. That line needs Node >= 22.15;
# the tests run on Node 24, whatever this machine has.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
tar --exclude=./node_modules --exclude=./dist --exclude=./.git -cf - . | tar -xf - -C "$folder"
cd "$folder"
rm package-lock.json

api='~1.10.0' stable='^3.1.0' experimental='^0.301.0'
npm pkg set "devDependencies.@opentelemetry/api=$api"
for name in context-async-hooks core resources sdk-metrics sdk-trace; do
  npm pkg set "devDependencies.@opentelemetry/$name=$stable"
done
for name in exporter-metrics-otlp-http exporter-trace-otlp-http instrumentation-http sdk-node; do
  npm pkg set "devDependencies.@opentelemetry/$name=$experimental"
done
npm pkg set 'devDependencies.@opentelemetry/instrumentation-ioredis=^0.72.0'
npm install --no-audit --no-fund --silent
npm run --silent build
npx -y -p node@24 -- node node_modules/mocha/bin/mocha.js --recursive \
  'dist/test/unit/telemetry/*.test.js' dist/test/integration/koa/http-telemetry.test.js dist/test/integration/redis/hidden-ids.test.js \
  'dist/test/e2e/*telemetry*.test.js' dist/test/e2e/jaeger.test.js
