"""A supervisord that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Running(NamedTuple):
    """A supervisord that runs."""

    pid: int
    #: None = this user may not read it
    environ: Mapping[str, str] | None = None
    uid: int | None = None
    loglevel: str | None = None  #: of -e
