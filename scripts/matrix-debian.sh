#!/usr/bin/env bash
# Runs the unit tests, and one failing and recovering php-fpm, in Debian 13 and later, with their own
# Python, supervisor, php-fpm, requests and prometheus-client. Nothing of this machine but the checkout
# is used. The systems are made by debootstrap, once, below .matrix/. SUITES= selects others.
set -euo pipefail
cd "$(dirname "$0")/.."

[ "$(id -u)" -eq 0 ] || { echo "matrix-debian: run this as root: debootstrap needs it" >&2; exit 1; }
command -v debootstrap >/dev/null || apt-get install -y -qq --no-install-recommends debootstrap >/dev/null
mirror=${MIRROR:-http://deb.debian.org/debian}
packages=supervisor,php-fpm,python3-requests,python3-prometheus-client
packages+=,python3-pytest,python3-pytest-timeout,python3-pytest-xdist,python3-hypothesis,procps

# make_root SUITE FOLDER: debootstrap of Debian 12 has no script for later suites; they are like sid.
make_root() {
    local script=/usr/share/debootstrap/scripts/$1
    [ -e "$script" ] || script=/usr/share/debootstrap/scripts/sid
    rm -rf "$2.part"
    debootstrap --variant=minbase "--include=$packages" "$1" "$2.part" "$mirror" "$script" &&
        mv "$2.part" "$2"
}

# run_unit FOLDER: the unit tests with the Python of that system
run_unit() {
    mkdir -p "$1/src"
    unshare --mount sh -euc 'mount --bind . "$1/src"; mount -o remount,bind,ro "$1/src"
        mount -t proc proc "$1/proc"
        exec chroot "$1" env -i PATH=/usr/sbin:/usr/bin LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 HYPOTHESIS_STORAGE_DIRECTORY=/tmp/h sh -c \
            "cd /src && exec python3 -m pytest -q -n 2 -p no:cacheprovider tests/unit"' sh "$1"
}

# run_story FOLDER: the first image of docs/containers.md, with that system as its root
run_story() {
    SHAPES_ROOT=$1 PHP_FPM=$(scripts/php-fpm-path.sh) .venv/bin/python -m pytest -q -p no:cacheprovider \
        tests/e2e/test_shapes.py -k 'test_a_shape and 1]'
}

versions() {
    chroot "$1" sh -c 'python3 -V; ls /usr/sbin/php-fpm[0-9]*; $(ls /usr/sbin/php-fpm[0-9]*) -v | head -n 1
        dpkg-query -W -f "\${Package} \${Version}\n" supervisor python3-requests python3-prometheus-client' |
        paste -s -d ';' | sed 's/;/; /g'
}

mkdir -p .matrix
table='' failed=0
for suite in ${SUITES:-trixie forky}; do
    root=$PWD/.matrix/debian-$suite
    if ! [ -d "$root" ] && ! make_root "$suite" "$root" >"$root.log" 2>&1; then
        table+="$suite: debootstrap failed, not tested: $(tail -n 1 "$root.log")"$'\n' failed=1
        continue
    fi
    table+="$suite: $(versions "$root")"$'\n'
    for part in unit story; do
        echo "matrix-debian: $suite: $part"
        if "run_$part" "$root" >"$root-$part.log" 2>&1; then
            verdict=passed
        else
            verdict=FAILED failed=1
            tail -n 40 "$root-$part.log"
        fi
        table+="  $part: $verdict: $(tail -n 1 "$root-$part.log")"$'\n'
    done
done
printf '\n%s' "$table"
exit $failed
