"""The values of php-fpm's settings as packages and the official image deliver them.

Only settings that a rule looks at are here. A setting that is not here is not set there.

Source: the packages php8.2-fpm of Debian 12, php83-fpm of Alpine, php-fpm of Fedora and of Remi;
docker-library/php (www.conf, docker.conf, zz-docker.conf).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

_WORKERS = {
    "pm": "dynamic",
    "pm.max_children": "5",
    "pm.start_servers": "2",
    "pm.min_spare_servers": "1",
    "pm.max_spare_servers": "3",
}
_RED_HAT = {
    "pm": "dynamic",
    "pm.max_children": "50",
    "pm.start_servers": "5",
    "pm.min_spare_servers": "5",
    "pm.max_spare_servers": "35",
    "daemonize": "yes",
    "listen.acl_users": "apache,nginx",
    "listen.allowed_clients": "127.0.0.1",
}
_LOCAL = "127.0.0.1:9000"


class Package(NamedTuple):
    """Who delivers files of php-fpm, and with which values."""

    name: str
    main: str  #: pattern of the main file's path; it includes the pools
    pools: str  #: pattern of the paths of pools
    values: Mapping[str, tuple[str, ...]]


def _package(name: str, main: str, pools: str, *values: Mapping[str, str]) -> Package:
    keys = {key for one in values for key in one}
    found = {key: tuple(one[key] for one in values if key in one) for key in keys}
    return Package(name, main, pools, found)


PACKAGES = (
    _package(
        "Debian's package",
        r"/etc/php/\d+\.\d+/fpm/php-fpm\.conf",
        r"/etc/php/\d+\.\d+/fpm/pool\.d/www\.conf",
        {**_WORKERS, "listen.owner": "www-data", "listen.group": "www-data"},
    ),
    _package(
        "the official Docker image",
        r"/usr/local/etc/php-fpm\.conf",
        r"/usr/local/etc/php-fpm\.d/(?:www|docker|zz-docker)\.conf",
        {**_WORKERS, "listen": _LOCAL, "catch_workers_output": "yes", "daemonize": "no"},
        {"listen": "9000", "decorate_workers_output": "no", "error_log": "/proc/self/fd/2"},
        {"access.log": "/proc/self/fd/2", "include": "etc/php-fpm.d/*.conf"},
    ),
    _package(
        "Alpine's package",
        r"/etc/php\d+/php-fpm\.conf",
        r"/etc/php\d+/php-fpm\.d/www\.conf",
        {**_WORKERS, "listen": _LOCAL},
    ),
    _package(
        "Red Hat's package",
        r"/etc/php-fpm\.conf",
        r"/etc/php-fpm\.d/www\.conf",
        {**_RED_HAT, "listen": "/run/php-fpm/www.sock"},
    ),
    _package(
        "Remi's package",
        r"/etc/opt/remi/php\d+/php-fpm\.conf",
        r"/etc/opt/remi/php\d+/php-fpm\.d/www\.conf",
        {**_RED_HAT},
    ),
)


def package_of(file: str, key: str, written: str | None, *, includes: bool) -> str:
    """Return whose unchanged default a value is; empty if it is none.

    written: the text in the file, None = not set; includes: the section has an include, as the
    main files of packages.
    """
    for package in PACKAGES:
        pattern = package.main if includes else package.pools
        # The files of the official image change [global] too.
        if re.fullmatch(pattern, file) or (includes and re.fullmatch(package.pools, file)):
            known = package.values.get(key, ())
            is_default = written in known if written is not None else not known
            return package.name if is_default else ""
    return ""
