"""Creates fpm-listener.pyz: our package with everything that it needs, in one file for an image.

    python -m release.build_pyz dist/fpm-listener.pyz

Laws:
1. The same commit gives the same bytes: sorted names, one fixed time, locked versions with hashes.
2. All of it is Python source, so that each Python from 3.10 on can run it.
3. The supervisor in it is only a fallback; another supervisor of the same Python wins.
"""

from __future__ import annotations

import configparser
import hashlib
import re
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parents[1]
LOCKED = ROOT / "release" / "locked.txt"
#: Downloaded wheels. Their hashes are checked at each build.
WHEELS = ROOT / ".wheels"
LARGEST = 3 << 19  #: bytes of the result: 1.5 MiB

_SHEBANG = b"#!/usr/bin/env python3\n"
_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file can have
#: Wheels that run on each Python and each machine.
_PURE = ("--only-binary=:all:", "--implementation=py", "--abi=none", "--platform=any")
_LOCK = re.compile(r"([\w.-]+)==(\S+) --hash=sha256:([0-9a-f]{64})")
#: Parts of wheels that nothing here imports.
_UNUSED = re.compile(
    r"supervisor/(?:tests|ui|skel|scripts)/|certifi/tests/|prometheus_client/(?:twisted|bridge)/"
    r"|urllib3/contrib/(?:emscripten/|pyopenssl|socks)|.*/(?:__main__|cli)\.py"
    r"|charset_normalizer/cli/|prometheus_client/(?:openmetrics/)?parser|requests/help"
    r"|supervisor/(?:web|templating)\.py"
)
#: Files of the archive that are ours; one of them replaces that of certifi.
_OWN = {"__main__.py": "pyz_main.py", "certifi/core.py": "pyz_certifi.py"}
#: supervisor opens this file beside its code, and a zip file has no such path.
_SUPERVISORS_VERSION = b"VERSION = _read_version_txt()\n"


def main(arguments: list[str]) -> int:
    """Write the file that is named on the command line; print its size."""
    target = Path(arguments[0])
    download()
    build(target)
    size = target.stat().st_size
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    print(f"{target}: {size} bytes, {size / 2**20:.2f} MiB, sha256 {digest}")
    if size >= LARGEST:
        print(f"{target}: larger than {LARGEST} bytes", file=sys.stderr)
        return 1
    return 0


def download() -> None:
    """Get the locked wheels that are not here yet."""
    if all(_wheel(*lock) for lock in _locks()):
        return
    WHEELS.mkdir(exist_ok=True)
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--require-hashes", "--python-version=3.10", *_PURE),
            *("--dest", str(WHEELS), "--requirement", str(LOCKED)),
        ],
        check=True,
    )


def build(target: Path) -> None:
    """Write the file; the wheels must be here."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        file.write(_SHEBANG)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for name, content in sorted(contents().items()):
                entry = zipfile.ZipInfo(name, _TIME)
                entry.create_system = 3  # Unix, also if the Python that builds thinks otherwise
                entry.external_attr = (stat.S_IFREG | 0o644) << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, content)
    target.chmod(0o755)


def contents() -> dict[str, bytes]:
    """Return the content of each file by its name in the archive."""
    found = {}
    package = ROOT / "fpm_listener"
    for path in package.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            found[path.relative_to(ROOT).as_posix()] = path.read_bytes()
    found |= _share()
    found["licenses/fpm-listener/LICENSE"] = (ROOT / "LICENSE").read_bytes()
    for name, version, digest in _locks():
        wheel = _wheel(name, version, digest)
        if wheel is None:
            raise SystemExit(f"{WHEELS}: no wheel of {name} {version} with the hash of {LOCKED}")
        found |= _of_wheel(name, wheel)
    return found | {name: (ROOT / "release" / path).read_bytes() for name, path in _OWN.items()}


def _locks() -> Iterator[tuple[str, str, str]]:
    """Yield name, version and hash of each locked package."""
    for line in LOCKED.read_text().splitlines():
        if line.startswith("#"):
            continue
        lock = _LOCK.fullmatch(line)
        if lock is None:
            raise SystemExit(f"{LOCKED}: {line!r} is not NAME==VERSION --hash=sha256:HASH")
        yield lock[1], lock[2], lock[3]


def _wheel(name: str, version: str, digest: str) -> Path | None:
    """Return the downloaded wheel with this hash."""
    for path in sorted(WHEELS.glob(f"{name.replace('-', '_')}-{version}-*.whl")):
        if hashlib.sha256(path.read_bytes()).hexdigest() == digest:
            return path
    return None


def _of_wheel(name: str, wheel: Path) -> Mapping[str, bytes]:
    """Return the code of a wheel, and its licences."""
    found = {}
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.namelist():
            folder, _, rest = entry.partition("/")
            if folder.endswith(".dist-info"):
                if re.search(r"LICEN[CS]E|NOTICE|COPYING|COPYRIGHT", rest):
                    found[f"licenses/{name}/{rest.rpartition('/')[2]}"] = archive.read(entry)
            elif not (entry.endswith("/") or _UNUSED.match(entry)):
                within = "fallback/" if name == "supervisor" else ""
                found[within + entry] = archive.read(entry)
    if name == "supervisor":
        _give_version(found)
    return found


def _give_version(found: dict[str, bytes]) -> None:
    """Write supervisor's version into its code."""
    code, version = "fallback/supervisor/options.py", "fallback/supervisor/version.txt"
    if found[code].count(_SUPERVISORS_VERSION) != 1:
        raise SystemExit("supervisor reads its version in another way; change release/build_pyz.py")
    value = found[version].decode().strip()
    line = f"VERSION = {value!r}  # changed for fpm-listener.pyz: a zip file has no version.txt\n"
    found[code] = found[code].replace(_SUPERVISORS_VERSION, line.encode())


def _share() -> dict[str, bytes]:
    """Return the files that users copy, as a package installs them below PREFIX/share/."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    return {
        f"{folder}/{Path(path).name}": (ROOT / path).read_bytes()
        for folder, paths in setup["options.data_files"].items()
        for path in paths.split()
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
