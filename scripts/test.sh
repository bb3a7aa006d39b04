#!/usr/bin/env bash
# Runs the tests that need more than the core. Those with real supervisords wait most of their time,
# so they run beside the others, in two processes; their output is shown at the end. The others run in
# two processes too, so that no core waits for the last one.
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
some=(tests/integration/{cli,daemon,delivery,doctor})
TEST_PROCESS=3 .venv/bin/python -m pytest "${some[@]}" >"$said/some" 2>&1 &
some_pid=$!
.venv/bin/python -m pytest tests/integration tests/conformance "${some[@]/#/--ignore=}"
beside=$?
wait "$some_pid"
some_status=$?
wait "$scenarios"
scenarios=$?
wait "$others"
others=$?
cat "$said/some" "$said/scenarios" "$said/others"
[ $((beside || some_status || scenarios)) -eq 0 ] || echo "test: some tests above have failed as well" >&2
exit $((beside || some_status || scenarios || others))
