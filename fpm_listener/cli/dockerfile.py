"""The lines of a Dockerfile that install fpm-listener in an image, and what a Dockerfile says.

Law: only words of a Dockerfile that are plain are used. A variable is unknown.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_DIRECTORY = "/opt/fpm-listener"
_PYTHON = {
    "Debian": (
        "apt-get update && apt-get install -y --no-install-recommends {package}"
        " && rm -rf /var/lib/apt/lists/*"
    ),
    "Alpine": "apk add --no-cache {package}",
}
_VENV = {"Debian": "python3-venv", "Alpine": "python3"}
SYSTEMS = tuple(_PYTHON)
#: The end of each php-fpm drop-in: read after zz-docker.conf of the official image.
DROP_IN = "zzz-fpm-listener.conf"
OFFICIAL_POOLS = "/usr/local/etc/php-fpm.d"
_WORD = re.compile(r"[\w./:@+-]+", re.ASCII)


class Image(NamedTuple):
    """What a Dockerfile says about its image."""

    system: str = ""  #: Debian or Alpine; empty = unknown
    user: str = ""  #: the last USER; empty = none
    file: str = ""  #: the path of supervisord's file in the image
    has_healthcheck: bool = False
    is_read: bool = False  #: there is a Dockerfile


def read(text: str, file: str) -> Image:
    """Return what the last stage of a Dockerfile says; file: the name of supervisord's file."""
    image, stages = Image(), dict[str, Image]()
    name = ""
    for instruction, words in _instructions(text):
        if instruction == "FROM":
            stages[name] = image
            names = [word for word in words if not word.startswith("--")]
            base = stages.get(names[0].lower()) if names else None
            image = base or Image(system=_system_of(names[0] if names else ""))
            name = names[2].lower() if len(names) > 2 and names[1].lower() == "as" else ""
        elif instruction == "USER" and words:
            user = words[0].partition(":")[0]
            image = image._replace(user=user if _WORD.fullmatch(user) else "")
        elif instruction == "HEALTHCHECK":
            image = image._replace(has_healthcheck=words[:1] != ["NONE"])
        elif instruction in {"COPY", "ADD"}:
            image = image._replace(file=_copied(words, file) or image.file)
    return image


def _instructions(text: str) -> list[tuple[str, list[str]]]:
    lines = [line for line in text.splitlines() if not re.match(r"\s*#", line)]
    joined = re.sub(r"\\[ \t]*\n", " ", "\n".join(lines))
    parts = (line.split() for line in joined.splitlines())
    return [(words[0].upper(), words[1:]) for words in parts if words]


def _system_of(base: str) -> str:
    """Return the system of a base image; the official PHP images are Debian's without a tag."""
    if "alpine" in base.lower():
        return "Alpine"
    return "Debian" if re.search(r"debian|ubuntu|bookworm|trixie|slim|(?:^|/)php:", base) else ""


def _copied(words: Sequence[str], file: str) -> str:
    """Return the path to which COPY or ADD copies a file; empty if it copies others."""
    paths = [word.strip("[]\",'") for word in words if not word.startswith("--")]
    if len(paths) < 2 or file not in [path.rpartition("/")[2] for path in paths[:-1]]:
        return ""
    target = f"{paths[-1]}{file}" if paths[-1].endswith("/") else paths[-1]
    return target if _WORD.fullmatch(target) and "." in target.rpartition("/")[2] else ""


def install(system: str) -> list[str]:
    """Return the lines that install fpm-listener on one system."""
    package = _PYTHON[system].format(package=_VENV[system])
    return [
        f"RUN {package} \\",
        f" && python3 -m venv {_DIRECTORY} \\",
        f" && {_DIRECTORY}/bin/pip install --no-cache-dir fpm-listener \\",
        f" && ln -s {_DIRECTORY}/bin/fpm-listener /usr/local/bin/",
    ]


def install_file(system: str) -> list[str]:
    """Return the lines that do the same without pip."""
    package = _PYTHON[system].format(package="python3")
    return [
        "ADD --chmod=755 fpm-listener.pyz /tmp/fpm-listener.pyz",
        f"RUN {package} \\",
        f" && /tmp/fpm-listener.pyz unpack {_DIRECTORY} && rm /tmp/fpm-listener.pyz \\",
        f" && ln -s {_DIRECTORY}/bin/fpm-listener /usr/local/bin/",
    ]


def drop_in(folder: str, values: Sequence[tuple[str, str, str]]) -> list[str]:
    """Return the lines that write settings of php-fpm; values: section, key, value."""
    lines: list[str] = []
    for section in dict.fromkeys(one[0] for one in values):
        lines += [f"[{section}]"]
        lines += [f"{key} = {value}" for name, key, value in values if name == section]
    quoted = " ".join(f"'{line}'" for line in lines)
    return [f"RUN printf '%s\\n' {quoted} > {folder}/{DROP_IN}"]


def health(config: str) -> list[str]:
    """Return the health check of the image; config: the path of the settings, if it needs them."""
    words = ["fpm-listener", "healthy", *(["--config", config] if config else [])]
    return [
        # Docker's limit is above that of the command itself, which says what is wrong.
        "HEALTHCHECK --interval=15s --timeout=10s --start-period=30s \\",
        f"  CMD {json.dumps(words)}",
    ]
