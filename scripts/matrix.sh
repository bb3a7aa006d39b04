#!/usr/bin/env bash
# Runs the tests on each Python 3.10 to 3.14 found here (on PATH, or made by pyenv), with the newest
# and with the oldest dependencies that setup.cfg accepts. The end-to-end tests run once for each set
# of dependencies, on the newest Python: they test processes. Environments and logs are in .matrix/.
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

# The oldest are those of Debian 12. supervisor 4.2.5 imports pkg_resources, which setuptools 82 no
# longer has.
pins() {
    case $1 in
        oldest) echo "supervisor==4.2.5 setuptools>=77,<82 requests==2.28.* prometheus-client==0.16.*" ;;
        newest) echo "supervisor==4.3.0" ;;
    esac
}

# run PYTHON NAME DEPENDENCIES FOLDER…: true when everything passed
run() {
    local python=$1 venv=.matrix/$2 dependencies=$3
    shift 3
    [ -x "$venv/bin/pip" ] || "$python" -m venv --clear "$venv" || return
    # shellcheck disable=SC2046 # several words
    "$venv/bin/pip" install --quiet --disable-pip-version-check --editable '.[test]' \
        --config-settings editable_mode=compat $(pins "$dependencies") &&
        "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r scripts/axe-core.txt &&
        "$venv/bin/python" -m pytest -p no:cacheprovider "$@"
}

mkdir -p .matrix
table='' newest=yes failed=0
for version in 3.14 3.13 3.12 3.11 3.10; do
    python=$(find_python $version)
    if [ -z "$python" ]; then
        table+="python $version: not found here, not tested"$'\n'
        continue
    fi
    folders=(tests/unit tests/integration tests/conformance)
    [ -z "$newest" ] || folders+=(tests/e2e)
    newest=''
    for dependencies in newest oldest; do
        name=python$version-$dependencies
        echo "matrix: $name: ${folders[*]}"
        if run "$python" "$name" "$dependencies" "${folders[@]}" >".matrix/$name.log" 2>&1; then
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
