"""The Dockerfile examples of docs/containers.md, built and run on this machine.

What differs from `docker build`, and nothing else:

- FROM: the root of this machine, with the files of the base image that matter (`_BASES`). PHP is
  the php-fpm of this machine, also where the tag names another version or Alpine. A container with
  a root of its own (`make matrix-debian`) gets no such files.
- `apt-get` and `apk` do nothing. supervisor is that of the test environment, at /usr/bin.
- `fpm-listener.pyz` is unpacked once. In the images, its `unpack` copies the result.
- The entry point of the official image, which execs the command, and its stop signal, QUIT, are
  left out.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from release import build_pyz
from tests.container import PATH, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.container import Container

PAGE = ROOT / "docs/containers.md"
_OF_CONTAINER = {"USER", "ENV", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
_USERS = {"root": 0, "www-data": 33}
_NO_PACKAGES = "alias apt-get=true apk=true\n"
#: Where a container has the directory that `unpacked` made.
UNPACKED = "/unpacked"
_PYZ = f"import shutil, sys; shutil.copytree({UNPACKED!r}, sys.argv[2], symlinks=True)\n"
#: Source: docker-library/php, 8.4/trixie/fpm/Dockerfile. The path of `include` is relative there.
_OFFICIAL = {
    "/usr/local/etc/php-fpm.conf": "[global]\ninclude=/usr/local/etc/php-fpm.d/*.conf\n",
    "/usr/local/etc/php-fpm.d/docker.conf": "[global]\nerror_log = /proc/self/fd/2\n"
    "log_limit = 8192\n[www]\naccess.log = /proc/self/fd/2\nclear_env = no\n"
    "catch_workers_output = yes\ndecorate_workers_output = no\n",
    "/usr/local/etc/php-fpm.d/www.conf": "[www]\nuser = www-data\ngroup = www-data\n"
    "listen = 127.0.0.1:9000\npm = dynamic\npm.max_children = 5\npm.start_servers = 2\n"
    "pm.min_spare_servers = 1\npm.max_spare_servers = 3\n",
    "/usr/local/etc/php-fpm.d/zz-docker.conf": "[global]\ndaemonize = no\n[www]\nlisten = 9000\n",
}
#: Source: the package supervisor 4.2.5-3 of Debian.
_SUPERVISOR = {
    "/etc/supervisor/supervisord.conf": """\
[unix_http_server]
file=/var/run/supervisor.sock
chmod=0700

[supervisord]
logfile=/var/log/supervisor/supervisord.log
pidfile=/var/run/supervisord.pid
childlogdir=/var/log/supervisor

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix:///var/run/supervisor.sock

[include]
files = /etc/supervisor/conf.d/*.conf
""",
}


@dataclass(slots=True)
class Example:
    """One section of the page: a Dockerfile and the files beside it."""

    title: str
    dockerfile: str = ""
    files: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Image:
    """What the instructions say about the container."""

    uid: int = 0
    workdir: str = "/"
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": PATH, "LANG": "C"})
    entrypoint: list[str] = field(default_factory=list)
    cmd: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)


def examples() -> Iterator[Example]:
    """Return the examples of the page. A file has its name in the line before its block."""
    for section in re.split(r"(?m)^##+ ", PAGE.read_text())[1:]:
        example = Example(section.partition("\n")[0])
        blocks = r"(?ms)(?:^`([\w.-]+)`:\n\n)?^```(\w+)\n(.*?)^```"
        for name, kind, text in re.findall(blocks, section):
            if kind == "dockerfile":
                example.dockerfile = text
            elif name:
                example.files[name] = text
        if example.dockerfile and example.title[0].isdigit():
            yield example


def unpack(target: Path) -> None:
    """Build fpm-listener.pyz, and unpack it with the Python of Debian."""
    build_pyz.download()
    archive = target.with_suffix(".pyz")
    build_pyz.build(archive)
    subprocess.run(["/usr/bin/python3", archive, "unpack", target], check=True)


def read(example: Example) -> Image:
    """Return what the Dockerfile says about the container."""
    image = Image()
    for word, value in _instructions(example.dockerfile):
        if word == "FROM":
            image.workdir = "/var/www/html" if value.startswith("php:") else "/"
        elif word == "USER":
            name = value.partition(":")[0]
            image.uid = int(name) if name.isdecimal() else _USERS[name]
        elif word == "ENV":
            image.environment |= dict(one.split("=", 1) for one in shlex.split(value))
        elif word == "HEALTHCHECK":
            image.health = json.loads(value[value.index("[") :])
        elif word == "ENTRYPOINT":
            image.entrypoint = json.loads(value)
        elif word == "CMD":
            image.cmd = json.loads(value)
    return image


def build(example: Example, container: Container, php_fpm: str) -> None:
    """Build the image in a container that has not been started."""
    for word, value in _instructions(example.dockerfile):
        if word == "FROM" and container.conditions.root == Path("/"):
            _base(container, value, php_fpm)
        elif word == "FROM":
            pass  # the root is the base image, with its packages
        elif word == "RUN":
            container.build(f"sh -ec {shlex.quote(_NO_PACKAGES + value)}")
        elif word in {"COPY", "ADD"}:
            _copy(container, example, value.split())
        else:
            assert word in _OF_CONTAINER, f"{example.title}: {word} is not implemented"


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if line and not line.startswith("#"):
            word, _, value = line.partition(" ")
            yield word, value.strip()


def _copy(container: Container, example: Example, words: list[str]) -> None:
    mode = 0o644
    if words[0].startswith("--chmod="):
        mode = int(words.pop(0).partition("=")[2], 8)
    *sources, target = words
    for source in sources:
        text = _PYZ if source == "fpm-listener.pyz" else example.files[source]
        container.add(f"{target}{source}" if target.endswith("/") else target, text, mode)


def _base(container: Container, name: str, php_fpm: str) -> None:
    """Make the base image of this machine's root."""
    own = re.search(r"php-fpm(\d\.\d)$", str(Path(php_fpm).resolve()))
    files = _OFFICIAL if name.startswith("php:") else _SUPERVISOR
    for path, text in files.items():
        container.add(path, text)
    container.build(
        f"ln -sf {sys.prefix}/bin/supervisord {sys.prefix}/bin/supervisorctl /usr/bin/",
        "mkdir -p /var/log/supervisor /var/www/html",
    )
    assert own, f"{php_fpm} is not the php-fpm of a Debian package"
    if name.startswith("php:"):  # Debian's binary has another path of its configuration compiled in
        container.build(
            f"ln -sf {php_fpm} /usr/local/sbin/php-fpm",
            f"ln -sf /usr/local/etc/php-fpm.conf /etc/php/{own[1]}/fpm/php-fpm.conf",
        )
    elif own[1] != "8.4":
        folder = "/etc/php/8.4/fpm"
        container.build(
            f"ln -s {php_fpm} /usr/sbin/php-fpm8.4",
            f"mkdir -p /etc/php/8.4; cp -r /etc/php/{own[1]}/fpm /etc/php/8.4",
            f"sed -i 's/{own[1]}/8.4/g' {folder}/php-fpm.conf {folder}/pool.d/www.conf",
            f"ln -sf {folder}/php-fpm.conf /etc/php/{own[1]}/fpm/php-fpm.conf",
        )
