"""Every parser of outside input survives its seeds, some changes of them, and long inputs.

The same targets as `make fuzz`, with inputs that are the same in each run.
"""

from __future__ import annotations

import zlib
from random import Random

import pytest

from tests.fuzz.judge import mutate, run, stretch
from tests.fuzz.targets import TARGETS

#: Changed seeds of each target.
MUTATIONS = 200


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_a_parser_of_outside_input(name: str) -> None:
    """No exception but the documented ones, no endless result, no time that grows as a square."""
    target = TARGETS[name]
    random = Random(zlib.crc32(name.encode()))  # noqa: S311 - the same inputs in each run
    inputs = [b"", *target.seeds, *(mutate(random, target.seeds) for _ in range(MUTATIONS))]

    assert [found for data in inputs if (found := run(target, data))] == []
    assert [found for data in target.seeds if (found := stretch(target, data))] == []
