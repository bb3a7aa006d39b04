"""How php-fpm is told of listening sockets that it inherits.

Law: php-fpm believes what it is told without a look, so only keys that it will use are written. An
inherited unix socket that no pool uses, it unlinks.

Source: php-src sapi/fpm/fpm/fpm_sockets.c; tried with php-fpm 8.2.36.
"""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` itself would cost the guard milliseconds
if TYPE_CHECKING:
    from collections.abc import Sequence

VARIABLE = "FPM_SOCKETS"
#: Sockets that php-fpm reads from one variable, before it looks for the next (FPM_SOCKETS_1 …).
_IN_ONE = 128


def is_inherited(variable: str) -> bool:
    """Return whether a variable of the environment would hand sockets to php-fpm."""
    return variable == VARIABLE or variable.startswith(f"{VARIABLE}_")


def environment(sockets: Sequence[tuple[str, int]]) -> dict[str, str]:
    """Return the variables that hand these sockets, key and descriptor each, to php-fpm."""
    sets = [sockets[at : at + _IN_ONE] for at in range(0, len(sockets), _IN_ONE)]
    return {
        f"{VARIABLE}_{number}" if number else VARIABLE: ",".join(
            f"{key}={descriptor}" for key, descriptor in some
        )
        for number, some in enumerate(sets)
    }
