"""The variables that pass listening sockets to php-fpm.

Law: php-fpm does not check inherited sockets, so only keys that it uses are written. It unlinks an
inherited unix socket that no pool uses.

Source: php-src sapi/fpm/fpm/fpm_sockets.c; tried with php-fpm 8.2.36.
"""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` costs the guard milliseconds
if TYPE_CHECKING:
    from collections.abc import Sequence

VARIABLE = "FPM_SOCKETS"
#: Sockets in one variable; the next ones are in FPM_SOCKETS_1 and so on.
_IN_ONE = 128


def is_inherited(variable: str) -> bool:
    """Return whether a variable of the environment passes sockets to php-fpm."""
    return variable == VARIABLE or variable.startswith(f"{VARIABLE}_")


def environment(sockets: Sequence[tuple[str, int]]) -> dict[str, str]:
    """Return the variables that pass these sockets, key and descriptor each, to php-fpm."""
    sets = [sockets[at : at + _IN_ONE] for at in range(0, len(sockets), _IN_ONE)]
    return {
        f"{VARIABLE}_{number}" if number else VARIABLE: ",".join(
            f"{key}={descriptor}" for key, descriptor in some
        )
        for number, some in enumerate(sets)
    }
