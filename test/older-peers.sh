#!/usr/bin/env bash
# Runs the tests that concern a peer against the oldest version that the package takes, one after the other.
# With names as arguments only those: inversify, koa, ioredis.
set -euo pipefail
cd "$(dirname "$0")/.."
npm run --silent build

# Not with Koa 2: there a HEAD request over HTTP/2 never ends, of whatever path.
koa_leaves_out='over HTTP/2 .* has a head for HEAD'
# Before ioredis 5.11 the instrumentation of ioredis has no channel to read.
ioredis_leaves_out='leaves the commands of the application to the instrumentation'
declare -A packages=([inversify]='inversify' [koa]='koa @types/koa' [ioredis]='ioredis')
declare -A files=(
  [inversify]='dist/test/unit/sse-module.test.js dist/test/unit/testing/*.test.js dist/test/integration/koa/*.test.js'
  [koa]='dist/test/unit/koa/*.test.js dist/test/integration/koa/*.test.js'
  [ioredis]='dist/test/integration/redis/*.test.js dist/test/contract/redis-*.test.js'
)

# The oldest versions in `peerDependencies`, for example koa@2.15.0.
oldest() {
  node -p "process.argv.slice(1).map(name =>
    name + '@' + require('./package.json').peerDependencies[name].split(' ')[0].slice(1)).join(' ')" "$@"
}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for peer in ${*:-inversify koa ioredis}; do
  # shellcheck disable=SC2086 # the packages and the files are separate words
  versions=$(oldest ${packages[$peer]})
  echo "== $versions"
  # A copy of its own, also where node_modules is a link, through which npm would change the packages of the project.
  mkdir -p "$folder/$peer/node_modules"
  tar --exclude=./.git --exclude=./dist/clients --exclude=./node_modules -cf - . | tar -xf - -C "$folder/$peer"
  cp -a node_modules/. "$folder/$peer/node_modules"
  cd "$folder/$peer"
  # shellcheck disable=SC2086
  npm install --no-audit --no-fund --silent --no-save --force $versions
  leaves_out=${peer}_leaves_out
  # shellcheck disable=SC2086
  node --enable-source-maps node_modules/mocha/bin/mocha.js ${files[$peer]} ${!leaves_out:+--invert --grep "${!leaves_out}"}
  cd - >/dev/null
done
