"""Runs one input of a fuzz target, and says what was wrong with it."""

from __future__ import annotations

import time
import traceback
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from random import Random

    from tests.fuzz.target import Target

#: Bytes of an input that are made; a stretched one has more.
LONGEST = 8192
#: CPU seconds below which nothing is called slow: a machine can be slow, too.
SLOW_S = 1.0
#: An input four times as long may cost this many times as much; a quadratic reader costs 16 times.
GROWTH = 9.0


class Finding(NamedTuple):
    """What an input did."""

    error: str  #: the exception, or that it is slow
    where: str  #: file and line, so that the same fault is shown once
    data: bytes


def run(target: Target, data: bytes) -> Finding | None:
    """Return what is wrong with one input; None = nothing."""
    try:
        target.run(data)
    except Exception as error:  # noqa: BLE001 - each is a finding
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if "/fpm_listener/" in frame.filename]
        # An AssertionError is raised by `check`, for the line that calls it.
        last = (ours or frames[:-1] or frames)[-1]
        where = f"{last.filename.rpartition('/fpm_listener/')[2]}:{last.lineno} {last.name}"
        return Finding(f"{type(error).__name__}: {str(error)[:300]}", where, data)
    return None


def stretch(target: Target, data: bytes) -> Finding | None:
    """Return whether an input repeated to many bytes costs much more than a quarter of it."""
    if not data or not target.stretch:
        return None
    long = (data * (target.stretch // len(data) + 1))[: target.stretch]
    found, long_s = _run_timed(target, long)
    if found is None and long_s > SLOW_S:
        # The whole once more: the first run can compile patterns, and a machine can be busy.
        sizes = target.stretch // 4, target.stretch
        quarter_s, again_s = (_run_timed(target, long[:size])[1] for size in sizes)
        if (long_s := min(long_s, again_s)) > GROWTH * quarter_s:
            said = f"slow: {target.stretch} bytes cost {long_s:.2f} s, a quarter {quarter_s:.2f} s"
            return Finding(said, "stretched", data)
    return found


def _run_timed(target: Target, data: bytes) -> tuple[Finding | None, float]:
    """Return also the CPU seconds of an input."""
    begun_s = time.process_time()
    found = run(target, data)
    return found, time.process_time() - begun_s


_TOKENS = (
    *(b"\n", b"\0", b" ", b":", b"=", b'"', b"'", b"\\", b"{", b"}", b"[", b"]", b"${", b"-1"),
    *(b"9" * 400, b"9" * 5000, b"1e999", b"NaN", b"null", b"true", b"\xff", b"\xc2\xa0"),
    *(b"\xe3\x80\x80", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\x1e", b"\x1b[2J", b"$pool", b"[]"),
)


def mutate(random: Random, seeds: tuple[bytes, ...]) -> bytes:
    """Return a seed with a few changes."""
    data = random.choice(seeds)
    for _ in range(random.randint(1, 4)):
        at = random.randint(0, len(data))
        end = min(len(data), at + random.choice((1, 2, 8, 64)))
        new = random.choice(
            (
                random.choice(_TOKENS),
                b"",
                data[at:end] * 3,
                bytes([random.randrange(256)]),
                random.choice(seeds)[at:end],
            )
        )
        data = data[:at] + new + data[random.choice((at, end)) :]
    return data[: 2 * LONGEST]
