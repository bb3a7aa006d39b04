"""Which lines of a log were seen already: a follower and supervisord's events bring the same."""

from __future__ import annotations

from collections import OrderedDict

_KEPT = 256


class SeenLines:
    """The last lines of one process."""

    def __init__(self) -> None:
        self._lines: OrderedDict[object, None] = OrderedDict()

    def add(self, line: str, life: int) -> bool:
        """Return whether the line is new; without a stamp it may come again in the next life."""
        key: object = line if is_stamped(line) else (life, line)
        if key in self._lines:
            return False
        self._lines[key] = None
        if len(self._lines) > _KEPT:
            self._lines.popitem(last=False)
        return True


def is_stamped(line: str) -> bool:
    """Return whether php-fpm has put its time before it."""
    return line.startswith("[") and line[1:2].isdigit()
