"""The table of all fuzz targets: every parser of outside input, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fuzz import files, logs, net, outputs, texts

if TYPE_CHECKING:
    from tests.fuzz.target import Target

TARGETS: dict[str, Target] = {
    **texts.TARGETS,
    **files.TARGETS,
    **logs.TARGETS,
    **net.TARGETS,
    **outputs.TARGETS,
}
