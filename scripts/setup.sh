#!/usr/bin/env bash
# Installs everything that this checkout needs: Debian packages, and .venv/ with fpm-listener.
#
#   scripts/setup.sh demo    php-fpm, and fpm-listener with its dependencies
#   scripts/setup.sh test    these, Prometheus, Chromium, shells, and the tools of the tests
#   scripts/setup.sh fuzz    these, and atheris, which only `make fuzz` needs
#
# It prints each step, and ends at once if nothing is missing.
# PYTHON=/path/to/python3.12 chooses the interpreter of .venv/ (3.10 or newer).
set -euo pipefail
cd "$(dirname "$0")/.."

mode=${1:-demo}
case $mode in demo | test | fuzz) ;; *) echo "usage: scripts/setup.sh demo|test|fuzz" >&2; exit 2 ;; esac
fuzz=''
[ "$mode" != fuzz ] || { fuzz=yes mode=test; }

say() { echo "setup: $*"; }
die() { echo "setup: $*" >&2; exit 1; }

# --- Python: $PYTHON, or the first one that is new enough -------------------------------------------

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; }

find_python() {
    local python
    if [ -n "${PYTHON:-}" ]; then
        is_new_enough "$PYTHON" || die "PYTHON=$PYTHON is not Python 3.10 or later"
        command -v "$PYTHON"
        return
    fi
    for python in python3 python3.13 python3.12 python3.11 python3.10; do
        if is_new_enough "$python"; then
            command -v "$python"
            return
        fi
    done
}

# On Debian, python3 cannot make a virtual environment without the package python3-venv.
can_make_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

# --- Debian packages --------------------------------------------------------------------------------

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

installed_packages() { dpkg-query -W -f '${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p' | sort; }

# Debian starts the service of a new package, now and at boot: a php-fpm and a Prometheus that are not
# needed. Only services that this run installed are stopped.
quiet_service() {
    if [ -d /run/systemd/system ]; then
        as_root systemctl disable --now --quiet "$1"
    else
        as_root service "$1" stop >/dev/null 2>&1 || true
        as_root update-rc.d "$1" disable >/dev/null 2>&1 || true
    fi
    say "stopped and disabled the service $1, which Debian starts with that package"
}

install_packages() {
    local before fresh package
    [ -x /usr/bin/apt-get ] ||
        die "missing: $*. This system has no apt-get: install them, then run this again"
    [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null ||
        die "missing: $*. There is no sudo. Run this as root: apt-get install $*"
    say "missing: $*; installing with apt-get"
    before=$(installed_packages)
    as_root apt-get update -qq || die "apt-get update failed; check the network"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o DPkg::Lock::Timeout=120 "$@" </dev/null >/dev/null ||
        die "apt-get could not install: $*"
    fresh=$(comm -13 <(echo "$before") <(installed_packages))
    say "installed:" $fresh
    for package in $fresh; do
        case $package in
            php*.*-fpm | prometheus | prometheus-alertmanager) quiet_service "$package" ;;
        esac
    done
}

missing=()
scripts/php-fpm-path.sh >/dev/null || missing+=(php-fpm)
if [ "$mode" = test ]; then
    command -v prometheus >/dev/null && command -v promtool >/dev/null || missing+=(prometheus)
    command -v prometheus-alertmanager >/dev/null && command -v amtool >/dev/null ||
        missing+=(prometheus-alertmanager)
    for tool in chromium mandoc zsh fish patch git; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    command -v man >/dev/null || missing+=(man-db)
    command -v ip >/dev/null || missing+=(iproute2)  # for the containers of the tests
fi
python=$(find_python)
if [ -z "$python" ]; then
    missing+=(python3 python3-venv)
elif ! can_make_venv "$python"; then
    case $(readlink -f "$("$python" -c 'import sys; print(sys.executable)')") in
        /usr/bin/*) missing+=("$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')") ;;
        *) die "$python has no ensurepip and cannot make a virtual environment; select another one with PYTHON=" ;;
    esac
fi
if [ ${#missing[@]} -gt 0 ]; then
    install_packages "${missing[@]}"
    python=$(find_python)
    [ -n "$python" ] || die "the Python of this system is older than 3.10; select a later one with PYTHON="
    scripts/php-fpm-path.sh >/dev/null || die "php-fpm is installed, but scripts/php-fpm-path.sh does not find it"
fi

# --- .venv ------------------------------------------------------------------------------------------

# The stamp says what .venv/ was made for. Scripts in it name their interpreter by its whole path, so a
# checkout that moved needs a new one; a changed setup.cfg only wants pip again.
stamp=.venv/.set-up
place="$PWD${PYTHON:+ with $python}"
needs=$(cat setup.cfg pyproject.toml scripts/setup.sh scripts/axe-core.txt release/locked.txt | sha256sum)
have_place='' have_needs='' have_mode=''
if [ -r "$stamp" ] && .venv/bin/python -c '' 2>/dev/null; then
    { read -r have_place && read -r have_needs && read -r have_mode; } <"$stamp" || true
fi
case $have_place in
    "$place" | "$place with "*) place=$have_place ;;
    *)
        say "making .venv with $python ($("$python" -V))"
        "$python" -m venv --clear .venv
        have_needs=''
        ;;
esac
# The packages of the tests include those of the demo.
[ "$have_mode" != test ] || mode=test
if [ "$have_needs" != "$needs" ] || [ "$have_mode" != "$mode" ]; then
    what=.
    [ "$mode" = demo ] || what='.[test]'
    say "installing $what and its dependencies in .venv with pip"
    .venv/bin/python -m pip install --quiet --quiet --disable-pip-version-check --editable "$what" \
        --config-settings editable_mode=compat ||
        die "pip could not install $what; check the network"
    if [ "$mode" = test ]; then
        # For its copy of axe-core; the browser that it would bring is not used.
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
            --requirement scripts/axe-core.txt ||
            die "pip could not install axe-core; check the network"
        .venv/bin/python -c 'from release import build_pyz; build_pyz.download()' ||
            die "pip could not download the packages of release/locked.txt; check the network"
    fi
    printf '%s\n' "$place" "$needs" "$mode" >"$stamp"
fi
if [ -n "$fuzz" ] && ! .venv/bin/python -c 'import atheris' 2>/dev/null; then
    say "installing atheris in .venv with pip"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check \
        --requirement scripts/atheris.txt ||
        die "pip could not install atheris; it supports CPython 3.11 to 3.13 on x86-64: select one with PYTHON="
fi

# pip compiles the packages that it installs, but not this checkout. Where PYTHONDONTWRITEBYTECODE is
# set, as in many containers, each start of the guard would compile its modules: 10 to 25 ms.
.venv/bin/python -m compileall -q fpm_listener
