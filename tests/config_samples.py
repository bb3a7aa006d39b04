"""Configurations as they are found in the world, laid out in a folder of their own."""

from __future__ import annotations

import re
from pathlib import Path

SAMPLES = Path(__file__).parent / "data" / "config-samples"
NAMES = sorted(path.name for path in SAMPLES.iterdir() if path.is_dir())
#: What supervisord is started with, of which the templates are filled.
ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "SUPERVISOR_PHP_COMMAND": "/usr/bin/php -d variables_order=EGPCS artisan serve --port=80",
    "SUPERVISOR_PHP_USER": "www-data",
    "PHP_VERSION": "8.2",
    "SITE": "site",
    "MEMORY": "128M",
    "FPM_PORT": "9070",
    "RPC_USER": "ops",
    "RPC_PASSWORD": "s3cret",
    "STARTSECS": "2",
    "DRAIN": "7s",
    "WORKERS": "6",
}
_USERS = re.compile(rb"\b(apache|nginx|root|nobody)\b(?=\r?$)", re.MULTILINE)
_QUIET = re.compile(rb"^log_level = (warning|error|alert)", re.MULTILINE)


def write_sample(name: str, folder: Path, *, plain: bool = False) -> Path:
    """Write a shape into a folder, and return supervisord's file.

    plain: with users that every Debian has, and php-fpm talking: `php-fpm -tt` needs both.
    """
    for source in SAMPLES.joinpath(name).rglob("*"):
        if source.is_dir():
            continue
        data = source.read_bytes().replace(b"{dir}", str(folder).encode())
        if plain:
            data = _QUIET.sub(b"log_level = notice", _USERS.sub(b"www-data", data))
        target = folder / source.relative_to(SAMPLES / name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    for below in ("log", "run"):
        (folder / below).mkdir(exist_ok=True)
    return folder / "supervisord.conf"
