"""The command line of `fpm-listener healthy`. Argparse would cost each probe milliseconds."""

from __future__ import annotations

USAGE = (
    "fpm-listener healthy [PROGRAM...] [--direct [--supervisord-conf FILE]] [--timeout S]"
    " [--start-period S] [--nagios] [--config FILE]"
)
TIMEOUT_S = 5.0
_LONGEST_S = 600.0


class Options:
    """The command line."""

    def __init__(self) -> None:
        self.programs: list[str] = []
        self.direct = self.nagios = False
        self.timeout_s, self.start_period_s = TIMEOUT_S, 0.0
        self.config: str | None = None
        self.supervisord_conf: str | None = None


class NoVerdict(Exception):  # noqa: N818 - it is a result
    """The reason why there is no answer about the programs."""


def parse(words: list[str]) -> Options:
    """Return the options. Raises NoVerdict for a mistake."""
    options = Options()
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if word == "--direct":
            options.direct = True
        elif word == "--nagios":
            options.nagios = True
        elif name in {"--timeout", "--start-period", "--config", "--supervisord-conf"}:
            found = value if equals else next(rest, None)
            if found is None:
                raise NoVerdict(f"{name} needs a value; usage: {USAGE}")
            if name == "--config":
                options.config = found
            elif name == "--supervisord-conf":
                options.supervisord_conf = found
            else:
                key = f"{name[2:].replace('-', '_')}_s"
                setattr(options, key, _seconds(name, found))
        elif word.startswith("-"):
            raise NoVerdict(f"{word!r} is not an option; usage: {USAGE}")
        else:
            options.programs.append(word)
    return options


def _seconds(name: str, text: str) -> float:
    try:
        found = float(text.removesuffix("s"))
    except ValueError:
        from fpm_listener import durations  # noqa: PLC0415 - law 2

        try:
            found = durations.parse(text)
        except ValueError:
            found = -1.0
    if not 0 <= found <= _LONGEST_S:  # false for nan
        raise NoVerdict(
            f"{name} {text!r} is not a time from 0 to {_LONGEST_S:g} seconds; write one, such as 5s"
        )
    return found
