#!/usr/bin/env bash
# Runs the tests that need more than the core. Those with real supervisords wait most of their time,
# so they run beside the others, in two processes; what they say is shown at the end.
set -uo pipefail
cd "$(dirname "$0")/.."

said=$(mktemp -d)
trap 'rm -rf "$said"' EXIT
echo "test: end-to-end tests run beside these, and are shown after them"
# About a half of them, by the time that they take; what is new is among the others.
half=(tests/e2e/test_{scenarios,stories,pools,healed}.py)
TEST_PROCESS=1 .venv/bin/python -m pytest "${half[@]}" >"$said/scenarios" 2>&1 &
scenarios=$!
TEST_PROCESS=2 .venv/bin/python -m pytest tests/e2e "${half[@]/#/--ignore=}" >"$said/others" 2>&1 &
others=$!
.venv/bin/python -m pytest tests/integration tests/conformance
beside=$?
wait "$scenarios"
scenarios=$?
wait "$others"
others=$?
cat "$said/scenarios" "$said/others"
[ $((beside || scenarios)) -eq 0 ] || echo "test: some tests above have failed as well" >&2
exit $((beside || scenarios || others))
