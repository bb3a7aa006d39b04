#!/usr/bin/env bash
# Runs the tests on each Python 3.10 to 3.13 found here (on PATH, or made by pyenv), with supervisor
# 4.3.0 and with 4.2.5. The end-to-end tests run once for each supervisor, on the newest Python: they
# test processes. Environments and logs are kept in .matrix/.
set -euo pipefail
cd "$(dirname "$0")/.."

PHP_FPM=$(scripts/php-fpm-path.sh)
export PHP_FPM

find_python() {
    local python
    for python in "python$1" "$HOME/.pyenv/versions/$1".*/bin/python; do
        if "$python" -c "import ensurepip, sys; sys.exit('%d.%d' % sys.version_info[:2] != '$1')" 2>/dev/null; then
            echo "$python"
            return
        fi
    done
}

# 4.2.5 imports pkg_resources, which setuptools 82 no longer has.
pins() {
    case $1 in
        4.2.5) echo "supervisor==4.2.5 setuptools>=77,<82" ;;
        *) echo "supervisor==$1" ;;
    esac
}

# run PYTHON NAME SUPERVISOR FOLDER…: true when everything passed
run() {
    local python=$1 venv=.matrix/$2 supervisor=$3
    shift 3
    [ -x "$venv/bin/pip" ] || "$python" -m venv --clear "$venv" || return
    # shellcheck disable=SC2046 # two words
    "$venv/bin/pip" install --quiet --disable-pip-version-check --editable '.[test]' $(pins "$supervisor") &&
        "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r scripts/axe-core.txt &&
        "$venv/bin/python" -m pytest -p no:cacheprovider "$@"
}

mkdir -p .matrix
table='' newest=yes failed=0
for version in 3.13 3.12 3.11 3.10; do
    python=$(find_python $version)
    if [ -z "$python" ]; then
        table+="python $version: not found here, not tested"$'\n'
        continue
    fi
    folders=(tests/unit tests/integration tests/conformance)
    [ -z "$newest" ] || folders+=(tests/e2e)
    newest=''
    for supervisor in 4.3.0 4.2.5; do
        name=python$version-supervisor$supervisor
        echo "matrix: $name: ${folders[*]}"
        if run "$python" "$name" "$supervisor" "${folders[@]}" >".matrix/$name.log" 2>&1; then
            verdict=passed
        else
            verdict=FAILED failed=1
            tail -n 40 ".matrix/$name.log"
        fi
        table+="$name: $verdict: $(tail -n 1 ".matrix/$name.log")"$'\n'
    done
done
printf '\n%s' "$table"
exit $failed
