"""`fpm-listener explain`: its arguments, and its output."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fpm_listener.cli import explain_options, output
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from fpm_listener.doctor.explanations import Texts


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the arguments of `explain` to the command line."""
    explain = commands.add_parser(
        "explain", help="explain a rule of check, or the cause of an incident"
    )
    explain.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="such as FPM014 or bind_conflict (default: list all)",
    )
    explain.add_argument("--json", action="store_true", help="print JSON instead of text")
    explain_options.add_arguments(explain)


def run(options: argparse.Namespace) -> int:
    """Print the explanations, and return the exit status."""
    if options.logs:
        from fpm_listener.cli import explain_logs  # noqa: PLC0415 - only this needs it

        return explain_logs.run(options)
    explain_options.refuse(options)
    from fpm_listener.doctor import explanations, text_files  # noqa: PLC0415 - only this needs them

    texts = explanations.Texts(text_files.texts(), text_files.causes())
    names = _found(options.names, texts)
    if options.json:
        found = [explanations.to_json(name, texts) for name in names or texts.names]
        output.write(json.dumps(found, indent=2))
    elif names:
        output.say("\n\n\n".join(explanations.to_text(name, texts) for name in names))
    else:
        output.say(explanations.overview(texts))
    return 0


def _found(words: Iterable[str], texts: Texts) -> list[str]:
    """Return the rules and causes that a user named, each once. Raises FpmListenerError."""
    found: dict[str, None] = {}
    for word in words:
        name = texts.find(word)
        if name is None:
            similar = texts.similar(word)
            nearest = f" Did you mean {' or '.join(similar)}?" if similar else ""
            raise FpmListenerError(
                f"explain: {word!r:.80} is neither a rule of check nor a cause.{nearest}"
                " To list all, type: fpm-listener explain"
            )
        found[name] = None
    return list(found)
