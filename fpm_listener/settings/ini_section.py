"""One section of the settings: its words, what each may be, and what is said of a wrong one.

Law: an error names file, section, key, the value (unless it may be secret), and what is allowed.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

from fpm_listener import durations
from fpm_listener.settings.policy import LoopPolicy, Span
from fpm_listener.settings.receiver_types import Rate
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path


# -- what a value may be: each returns the value, or raises ValueError with what is allowed --------


def text(word: str) -> str:
    """Return a value that may be anything."""
    if not word:
        raise ValueError("some text")
    return word


def boolean(word: str) -> bool:
    """Return a switch."""
    known = {"true": True, "yes": True, "on": True, "1": True}
    known |= {"false": False, "no": False, "off": False, "0": False}
    if word.lower() not in known:
        raise ValueError("true or false")
    return known[word.lower()]


def count(word: str) -> int:
    """Return a whole number above 0."""
    if not word.isascii() or not word.isdigit() or not 1 <= int(word) <= 1_000_000:
        raise ValueError("a whole number from 1 to 1000000")
    return int(word)


def duration(word: str) -> float:
    """Return seconds."""
    seconds = durations.parse(word)
    if seconds <= 0:
        raise ValueError("a duration above 0, such as 500ms, 10s, 15m, 4h, 1d")
    return seconds


def _so_many_in(word: str, least: int) -> tuple[int, float] | None:
    found = re.fullmatch(r"(\d{1,4})\s+in\s+(\S+)", word)
    try:
        so_many, window_s = (int(found[1]), duration(found[2])) if found else (0, 0.0)
    except ValueError:
        return None
    return (so_many, window_s) if so_many >= least else None


def loop(word: str) -> LoopPolicy:
    """Return when a program counts as looping: `3 in 60s`."""
    found = _so_many_in(word, 2)
    if found is None:
        raise ValueError("'N in DURATION' with N of 2 or more, such as 3 in 60s")
    return LoopPolicy(threshold=found[0], window_s=found[1])


def timeout(word: str) -> float:
    """Return seconds that an attempt may take."""
    seconds = duration(word)
    if seconds > 3600:
        raise ValueError("a duration up to 1h")
    return seconds


def rates(word: str) -> tuple[Rate, ...]:
    """Return how often a receiver may be spoken to: `18 in 1m, 2 in 10s`, or `off`."""
    if word.lower() == "off":
        return ()
    found = [_so_many_in(part.strip(), 1) for part in word.split(",")]
    if None in found:
        raise ValueError("'N in DURATION', such as 18 in 1m, or several with commas, or off")
    return tuple(Rate(*one) for one in found if one)


def span(word: str) -> Span | None:
    """Return a first and a longest delay: `10s..5m`, or `off`."""
    if word.lower() == "off":
        return None
    first, dots, longest = word.partition("..")
    try:
        found = Span(duration(first.strip()), duration(longest.strip())) if dots else None
    except ValueError:
        found = None
    if found is None or found.longest_s < found.first_s or found.first_s < 1.0:
        raise ValueError("a first and a longest delay, such as 10s..5m, from 1s on; or off")
    return found


def address(word: str) -> tuple[str, int]:
    """Return host and port; without a host: everywhere."""
    host, colon, port = word.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("host:port; an IPv6 host stands in brackets, such as [::1]:19253")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("host:port, such as 127.0.0.1:19253 or [::1]:19253")
    return host or "0.0.0.0", int(port)  # noqa: S104 - the operator wrote `:PORT`: everywhere


def words(word: str) -> tuple[str, ...]:
    """Return several values, with spaces or commas between them."""
    return tuple(word.replace(",", " ").split())


def url(word: str) -> str:
    """Return a URL; may be secret."""
    if not is_url(word):
        raise ValueError("a URL that begins with http:// or https:// (not shown: it may be secret)")
    return word


def is_url(word: str) -> bool:
    """Return whether it is a URL that can be posted to."""
    from urllib.parse import urlsplit  # noqa: PLC0415 - not every start needs it

    if not re.fullmatch(r"https?://[^\s/]+\S*", word):
        return False
    try:
        parts = urlsplit(word)
        return bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def page_url(word: str) -> str:
    """Return a URL that is shown to people: it holds no user and no password."""
    if not is_url(word) or "@" in word or not word.isprintable():
        raise ValueError("a URL such as https://host/, without user and password (not shown)")
    return word


def hosts(word: str) -> tuple[str, ...]:
    """Return names of hosts as a browser sends them: lower case, without a port."""
    found = tuple(one.lower().rstrip(".") for one in words(word))
    if not all(re.fullmatch(r"[a-z0-9_.-]{1,253}", one) for one in found):
        raise ValueError("names of hosts, without scheme and port, such as web1.example.com")
    return found


def urls(word: str) -> tuple[str, ...]:
    """Return several URLs, each once; may be secret."""
    found = tuple(dict.fromkeys(url(one) for one in words(word)))
    if not found:
        raise ValueError("at least one URL")
    return found


def command(word: str) -> tuple[str, ...]:
    """Return a command and its arguments, quoted as for a shell; no shell runs it."""
    try:
        return tuple(shlex.split(word))
    except ValueError as error:
        raise ValueError(f"a command, quoted as for a shell ({error})") from None


def one_of(*allowed: str) -> Callable[[str], str]:
    """Return a reader of a word of a closed set."""

    def read(word: str) -> str:
        if word.lower() not in allowed:
            raise ValueError(", ".join(allowed))
        return word.lower()

    return read


def some_of(allowed: Collection[str]) -> Callable[[str], tuple[str, ...]]:
    """Return a reader of words of a closed set."""

    def read(word: str) -> tuple[str, ...]:
        found = tuple(one.lower() for one in words(word))
        if not set(found) <= set(allowed):
            raise ValueError(", ".join(allowed))
        return found

    return read


_SECRET = {url, urls, page_url, command}


class SettingsSection:
    """One section: its words, each to be taken once, and what is wrong with them."""

    def __init__(self, where: str, found: Mapping[str, str], folder: Path) -> None:
        """`where`: file and section; `folder`: that relative paths begin at."""
        self.where = where
        self._words = found
        self._folder = folder

    def take(self, key: str, read: Callable[[str], Any], default: Any) -> Any:  # noqa: ANN401
        """Return the value of `key`; where it is absent or empty, the default."""
        word = self._words.get(key, "").strip()
        if not word:
            return default
        try:
            return read(word)
        except ValueError as error:
            shown = "" if read in _SECRET else f" = {word!r}"
            raise FpmListenerError(
                f"{self.where}: {key}{shown} is not understood; allowed: {error}",
            ) from None

    def has(self, key: str) -> bool:
        """Return whether `key` has a value."""
        return bool(self._words.get(key, "").strip())

    def path(self, word: str) -> Path:
        """Return a path; a relative one lies beside the settings file."""
        return self._folder / word

    def paths(self, word: str) -> tuple[Path, ...]:
        """Return several paths."""
        return tuple(self._folder / one for one in words(word))

    def refuse_unknown(self, known: Sequence[str], of: str = "") -> None:
        """Raise FpmListenerError where a key is not known; `of`: whose settings the known are."""
        for key in self._words:
            if key not in known:
                close = closest(key, known)
                hint = f"did you mean {close!r}?" if close else f"known: {', '.join(known)}"
                raise FpmListenerError(f"{self.where}: {key!r} is no setting{of}; {hint}")

    def refuse_halves(self, one: str, other: str) -> None:
        """Raise FpmListenerError where only one of two keys has a value."""
        if self.has(one) != self.has(other):
            raise FpmListenerError(
                f"{self.where}: {one}, {other} go together; one of them is missing",
            )


def closest(word: str, known: Sequence[str], cutoff: float = 0.6) -> str | None:
    """Return the known word that is most like `word`, if any is."""
    # Imported when something is wrong: it costs a listener that runs half a mebibyte.
    from difflib import get_close_matches  # noqa: PLC0415

    return next(iter(get_close_matches(word, known, n=1, cutoff=cutoff)), None)
