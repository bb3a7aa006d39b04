#!/usr/bin/env bash
# Runs the tests that need more than the core: first integration and conformance, then the end-to-end
# tests, each time in two processes, one for each core. End-to-end tests have deadlines, so nothing
# else runs beside them.
set -uo pipefail
cd "$(dirname "$0")/.."

output=$(mktemp)
trap 'rm -f "$output"' EXIT
failed=0

# both FIRST… -- SECOND…: run two groups of tests side by side; show the output of the first one last
both() {
    local first=()
    while [ "$1" != -- ]; do
        first+=("$1")
        shift
    done
    shift
    TEST_PROCESS=1 .venv/bin/python -m pytest "${first[@]}" >"$output" 2>&1 &
    local beside=$!
    TEST_PROCESS=2 .venv/bin/python -m pytest "$@" || failed=1
    wait "$beside" || failed=1
    cat "$output"
}

some=(tests/integration/{cli,daemon,delivery,doctor})
both "${some[@]}" -- tests/integration tests/conformance "${some[@]/#/--ignore=}"
# About a half of them, by the time that they take; new ones are among the others.
half=(tests/e2e/test_{scenarios,stories,pools,healed}.py)
both "${half[@]}" -- tests/e2e "${half[@]/#/--ignore=}"
[ $failed -eq 0 ] || echo "test: some tests above have failed" >&2
exit $failed
