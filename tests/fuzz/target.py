"""What a fuzz target is: a parser of outside input, and what it must never do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = Path(__file__).parents[1] / "data"
SAMPLES = DATA / "config-samples"
#: Separates the parts of an input that is several texts.
SPLIT = b"\x1e"


@dataclass(frozen=True, slots=True)
class Target:
    """One parser.

    run: takes the input, and raises where the parser breaks its contract; an exception that the
    parser documents is caught there.
    """

    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    #: The input repeated to this many bytes must still be read quickly; 0 = the parser has a limit
    #: of its own, or reads files.
    stretch: int = 1 << 16


def text(data: bytes) -> str:
    """Return the input as text, as a file with any bytes is read."""
    return data.decode("utf-8", "surrogateescape")


def parts(data: bytes, count: int) -> list[bytes]:
    """Return the input as so many parts; the last ones may be empty."""
    found = data.split(SPLIT, count - 1)
    return found + [b""] * (count - len(found))


def shapes(name: str) -> tuple[bytes, ...]:
    """Return all sample files of a name, such as `php-fpm.conf`, each once."""
    return tuple(sorted({path.read_bytes() for path in SAMPLES.rglob(name)}))


def fpm_lines() -> tuple[bytes, ...]:
    """Return the sample lines of php-fpm's error log."""
    lines = (DATA / "fpm-lines.txt").read_bytes().splitlines()
    return tuple(line.partition(b"\t")[2] for line in lines if b"\t" in line)


def check(condition: object, what: str) -> None:
    """Raise AssertionError where a condition does not hold; also under python -O."""
    if not condition:
        raise AssertionError(what)
