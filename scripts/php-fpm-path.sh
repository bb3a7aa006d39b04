#!/bin/sh
# Prints the path of php-fpm: $PHP_FPM, the one on PATH, or Debian's newest php-fpmX.Y. Exit 1: none.
set -eu
PATH=$PATH:/usr/local/sbin:/usr/sbin
[ -z "${PHP_FPM:-}" ] || { echo "$PHP_FPM"; exit; }
command -v php-fpm && exit
found=$(ls /usr/sbin/php-fpm[0-9]* 2>/dev/null | sort -V | tail -n 1)
[ -n "$found" ] && echo "$found"
