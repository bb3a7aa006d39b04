#!/usr/bin/env bash
# Runs the tests that need more than the core. Those with real supervisords wait most of their time,
# so they run beside the others; what they say is shown at the end.
set -uo pipefail
cd "$(dirname "$0")/.."

said=$(mktemp)
trap 'rm -f "$said"' EXIT
echo "test: end-to-end tests run beside these, and are shown after them"
TEST_PROCESS=1 .venv/bin/python -m pytest tests/e2e >"$said" 2>&1 &
e2e=$!
.venv/bin/python -m pytest tests/integration tests/conformance
others=$?
wait "$e2e"
ends=$?
cat "$said"
[ "$others" -eq 0 ] || echo "test: integration or conformance tests have failed, see above" >&2
exit $((others || ends))
