"""One section of the settings file: the readers of values, and the errors about wrong ones.

Law: an error names file, section, key, the value (unless it may be secret) and the allowed values.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fpm_listener import durations
from fpm_listener.settings.policy import NEVER, LoopPolicy, Span
from fpm_listener.settings.receiver_types import Rate
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    Reader = Callable[[str], Any]


# -- readers: each returns the value of a word, or raises ValueError with what is expected ---------


def text(word: str) -> str:
    """Return any text."""
    return word


def file(word: str) -> Path:
    """Return a path; the section makes it relative to the settings file."""
    return Path(word)


def files(word: str) -> tuple[Path, ...]:
    """Return several paths."""
    return tuple(map(Path, words(word)))


_BOOLEANS = dict.fromkeys(("true", "yes", "on", "1"), True)
_BOOLEANS |= dict.fromkeys(("false", "no", "off", "0"), False)


def boolean(word: str) -> bool:
    """Return True or False."""
    if word.lower() not in _BOOLEANS:
        raise ValueError("true or false")
    return _BOOLEANS[word.lower()]


def count(word: str) -> int:
    """Return a whole number above 0."""
    if not re.fullmatch(r"[0-9]{1,20}", word) or not 1 <= int(word) <= 1_000_000:
        raise ValueError("a whole number from 1 to 1000000")
    return int(word)


def few(most: int) -> Callable[[str], int]:
    """Return a reader of a whole number from 0 to `most`."""

    def read(word: str) -> int:
        if not re.fullmatch(r"[0-9]{1,4}", word) or int(word) > most:
            raise ValueError(f"a whole number from 0 to {most}")
        return int(word)

    return read


def duration(word: str) -> float:
    """Return seconds."""
    seconds = durations.parse(word)
    if seconds <= 0:
        raise ValueError("a duration above 0, such as 500ms, 10s, 15m, 4h, 1d")
    return seconds


def timeout(word: str) -> float:
    """Return the seconds of one attempt."""
    seconds = duration(word)
    if seconds > 3600:
        raise ValueError("a duration up to 1h")
    return seconds


def _number_in_window(word: str, least: int) -> tuple[int, float] | None:
    found = re.fullmatch(r"(\d{1,4})\s+in\s+(\S+)", word)
    try:
        number, window_s = (int(found[1]), duration(found[2])) if found else (0, 0.0)
    except ValueError:
        return None
    return (number, window_s) if number >= least else None


def loop(word: str, or_else: str = "") -> LoopPolicy:
    """Return when failures are a restart loop: `3 in 60s`."""
    found = _number_in_window(word, 2)
    if found is None:
        raise ValueError(f"'N in DURATION' with N of 2 or more, such as 3 in 60s{or_else}")
    return LoopPolicy(threshold=found[0], window_s=found[1])


def loop_or_off(word: str) -> LoopPolicy:
    """Return when restarts are a loop: `10 in 60s`, or `off`."""
    return NEVER if word.lower() == "off" else loop(word, "; or off")


def rates(word: str) -> tuple[Rate, ...]:
    """Return the limits of messages: `18 in 1m, 2 in 10s`, or `off`."""
    if word.lower() == "off":
        return ()
    found = [_number_in_window(part.strip(), 1) for part in word.split(",")]
    if None in found:
        raise ValueError("'N in DURATION', such as 18 in 1m, or several with commas, or off")
    return tuple(Rate(*one) for one in found if one)


def span(word: str) -> Span | None:
    """Return the first and the longest delay: `10s..5m`, or `off`."""
    if word.lower() == "off":
        return None
    first, dots, longest = word.partition("..")
    try:
        found = Span(duration(first.strip()), duration(longest.strip())) if dots else None
    except ValueError:
        found = None
    if found is None or found.longest_s < found.first_s or found.first_s < 1.0:
        raise ValueError("the first and the longest delay, such as 10s..5m, at least 1s; or off")
    return found


def address(word: str) -> tuple[str, int]:
    """Return host and port; no host means all addresses."""
    host, colon, port = word.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("host:port with an IPv6 host in brackets, such as [::1]:19253")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("host:port, such as 127.0.0.1:19253 or [::1]:19253")
    return host or "0.0.0.0", int(port)  # noqa: S104 - the operator wrote `:PORT`


def words(word: str) -> tuple[str, ...]:
    """Return several values, separated by spaces or commas."""
    return tuple(word.replace(",", " ").split())


def url(word: str) -> str:
    """Return a URL; may be secret."""
    if not is_url(word):
        raise ValueError("a URL that begins with http:// or https:// (not shown: it may be secret)")
    return word


def is_url(word: str) -> bool:
    """Return whether the text is an HTTP URL."""
    from urllib.parse import urlsplit  # noqa: PLC0415 - not every start needs it

    if not re.fullmatch(r"https?://[^\s/]+\S*", word):
        return False
    try:
        parts = urlsplit(word)
        return bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def page_url(word: str) -> str:
    """Return a URL that people see: without user and password."""
    if not is_url(word) or "@" in word or not word.isprintable():
        raise ValueError("a URL such as https://host/, without user and password (not shown)")
    return word


def urls(word: str) -> tuple[str, ...]:
    """Return several URLs, each once; may be secret."""
    found = tuple(dict.fromkeys(url(one) for one in words(word)))
    if not found:
        raise ValueError("at least one URL")
    return found


def hosts(word: str) -> tuple[str, ...]:
    """Return host names as a browser sends them: lower case, without a port."""
    found = tuple(one.lower().rstrip(".") for one in words(word))
    if not all(re.fullmatch(r"[a-z0-9_.-]{1,253}", one) for one in found):
        raise ValueError("host names without scheme and port, such as web1.example.com")
    return found


def command(word: str) -> tuple[str, ...]:
    """Return a command and its arguments, quoted as for a shell; no shell runs it."""
    try:
        return tuple(shlex.split(word))
    except ValueError as error:
        raise ValueError(f"a command, quoted as for a shell ({error})") from None


def one_of(*allowed: str) -> Callable[[str], str]:
    """Return a reader of one word of a closed set."""

    def read(word: str) -> str:
        if word.lower() not in allowed:
            raise ValueError(f"one of {', '.join(allowed)}")
        return word.lower()

    return read


def some_of(allowed: Collection[str]) -> Callable[[str], tuple[str, ...]]:
    """Return a reader of several words of a closed set."""

    def read(word: str) -> tuple[str, ...]:
        found = tuple(one.lower() for one in words(word))
        if not set(found) <= set(allowed):
            raise ValueError(f"some of {', '.join(allowed)}")
        return found

    return read


_SECRET = {url, urls, page_url, command}


class Setting(NamedTuple):
    """How one key is read."""

    field: str  #: of the dataclass that gets the value
    read: Reader


class SettingsSection:
    """The keys and words of one section."""

    def __init__(self, where: str, found: Mapping[str, str], folder: Path) -> None:
        """`where`: file and section, for errors; `folder`: base of relative paths."""
        self.where = where
        self._words = found
        self._folder = folder

    def fields(self, table: Mapping[str, Setting]) -> dict[str, Any]:
        """Return the values of all keys of `table` that are set, by field."""
        return {
            setting.field: self.take(key, setting.read)
            for key, setting in table.items()
            if self.has(key)
        }

    def take(self, key: str, read: Reader, default: Any = None) -> Any:  # noqa: ANN401
        """Return the value of `key`, or the default if it is absent or empty."""
        word = self._words.get(key, "").strip()
        if not word:
            return default
        try:
            value = read(word)
        except ValueError as error:
            shown = "" if read in _SECRET else f" = {word!r}"
            raise self.error(f"{key}{shown} is invalid; expected {error}") from None
        if isinstance(value, Path):
            return self._folder / value
        if read is files:
            return tuple(self._folder / one for one in value)
        return value

    def has(self, key: str) -> bool:
        """Return whether `key` has a value."""
        return bool(self._words.get(key, "").strip())

    def error(self, text: str) -> FpmListenerError:
        """Return an error about this section."""
        return FpmListenerError(f"{self.where}: {text}")

    def refuse_unknown(self, known: Sequence[str], of: str = "") -> None:
        """Raise FpmListenerError for an unknown key; `of`: whose settings the known ones are."""
        for key in self._words:
            if key not in known:
                raise self.error(f"{key!r} is not a setting{of}; {suggestion(key, known)}")

    def refuse_half(self, one: str, other: str) -> None:
        """Raise FpmListenerError if only one of two keys has a value."""
        if self.has(one) != self.has(other):
            missing = other if self.has(one) else one
            raise self.error(f"{one} and {other} need each other; add {missing}")


def suggestion(word: str, known: Sequence[str]) -> str:
    """Return a hint for a word that is unknown."""
    close = closest(word, known)
    return f"did you mean {close!r}?" if close else f"known: {', '.join(known) or 'none'}"


def closest(word: str, known: Sequence[str], cutoff: float = 0.6) -> str | None:
    """Return the known word that is most like `word`, if there is one."""
    # Imported only for an error: it costs a running listener half a mebibyte.
    from difflib import get_close_matches  # noqa: PLC0415

    return next(iter(get_close_matches(word, known, n=1, cutoff=cutoff)), None)
