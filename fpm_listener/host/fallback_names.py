"""The names of the directories that can replace `state_dir`."""

from __future__ import annotations

_NAME = "fpm-listener"
_RUN, _TMP = "/run", "/tmp"  # noqa: S108 - fallback_directory.py checks everything


def fallbacks(home: str, uid: int) -> tuple[str, ...]:
    """Return where a user can keep the files if `state_dir` cannot be used, best first.

    home: XDG_STATE_HOME; a relative one is not used, as its specification says.
    """
    own = (f"{home}/{_NAME}",) if home.startswith("/") else ()
    return (*own, f"{_RUN}/{_NAME}", f"{_TMP}/{_NAME}-{uid}")


def is_temporary(fallback: str) -> bool:
    """Return whether the end of the container, or a reboot, can delete a fallback."""
    return fallback.startswith((f"{_RUN}/", f"{_TMP}/"))
