#!/usr/bin/env bash
# The dashboard in a real browser, and its routes against their own description. ARGUS_SCREENSHOTS=FOLDER keeps the pictures.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cache=${ARGUS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/argus}
skip() {
  if [ "${ARGUS_TEST_ALL:-}" = 1 ]; then echo "FAILED: $1" >&2; exit 1; fi
  echo "skipped: $1"
}
cargo build --locked -q -p dashboard
export ARGUS_DASHBOARD=${CARGO_TARGET_DIR:-$PWD/target}/debug/dashboard

chromium=
for name in chromium chromium-browser google-chrome; do
  if [ -z "$chromium" ]; then chromium=$(command -v "$name" || true); fi
done
if [ -z "$chromium" ] || ! command -v npm >/dev/null; then
  skip "the dashboard in a browser: install Chromium and npm (\`apt-get install chromium npm\`)"
else
  (cd examples/dashboard/tests/browser && npm ci --silent --no-audit --no-fund)
  ARGUS_CHROMIUM=$chromium node --test --test-timeout=240000 examples/dashboard/tests/browser/journey.test.mjs
fi

if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
  skip "the dashboard's routes against their description: install Python with venv (\`apt-get install python3-venv\`)"
  exit 0
fi
version=4.32.5
venv=$cache/schemathesis-$version
[ -x "$venv/bin/schemathesis" ] || { python3 -m venv "$venv" && "$venv/bin/pip" install -q "schemathesis==$version"; }
work=$(mktemp -d)
"$ARGUS_DASHBOARD" --listen 127.0.0.1:0 --data "$work/data" 2>"$work/log" &
trap 'kill %1; rm -rf "$work"' EXIT
until url=$(sed -n 's|.*the dashboard is at \(https\{0,1\}://[^/"]*\)/".*|\1|p' "$work/log") && [ -n "$url" ]; do
  kill -0 %1 || { cat "$work/log" >&2; exit 1; }
  sleep 0.2
done
# That a whole number may be written as 5.0 is all that it holds against us.
(cd "$work" && "$venv/bin/schemathesis" run "$url/openapi.json" --url "$url" --checks all --exclude-checks positive_data_acceptance \
  --max-examples 50 --generation-database none --no-color >"$work/said") || { cat "$work/said" >&2; exit 1; }
tail -3 "$work/said"
