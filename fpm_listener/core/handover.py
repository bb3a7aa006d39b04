"""What a guard and the listener say to each other when sockets are handed over.

One conversation, four messages, each one packet: the guard says `Hello`; the listener answers with
an `Offer` and the sockets it holds; the guard makes a `Deposit` of all that php-fpm is given now;
the listener says `Done`. Sockets travel beside the packet, in the order of `keys`.

Laws: whoever is not understood is hung up on, and php-fpm starts without a hold.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

#: Where the listener waits for guards, in its state_dir.
SOCKET_NAME = "guard.sock"
#: Sockets that one packet can carry (Linux: 253), and its bytes.
MOST_SOCKETS, LONGEST = 200, 128 << 10
#: Seconds that either side waits for the other's next word.
PATIENCE_S = 1.0

Message = TypeVar("Message", bound="Hello | Offer | Deposit | Done")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Guard: I am about to become php-fpm."""

    group: str
    process: str
    hold: bool  #: False: let go of what is held for this process


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Listener: these sockets are held for you."""

    keys: tuple[str, ...] = ()  #: by which php-fpm knows them
    refused: str | None = None  #: why nothing is held this time


@dataclass(frozen=True, slots=True, kw_only=True)
class Deposit:
    """Guard: hold these, and nothing else."""

    keys: tuple[str, ...]
    addresses: tuple[str, ...]  #: of each, as php-fpm's configuration has it


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """Listener: they are held."""


def encode(message: Hello | Offer | Deposit | Done) -> bytes:
    """Return the packet."""
    return json.dumps({type(message).__name__.lower(): asdict(message)}).encode()


def decode(packet: bytes, kind: type[Message]) -> Message:
    """Return the message of that kind. Raises ValueError where the packet is none."""
    try:
        words = json.loads(packet)[kind.__name__.lower()]
        message = kind(**{key: _frozen(value) for key, value in words.items()})
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"this is no {kind.__name__}") from error
    _check(message)
    return message


def _frozen(value: Any) -> Any:  # noqa: ANN401 - what JSON holds
    return tuple(value) if isinstance(value, list) else value


def _check(message: Hello | Offer | Deposit | Done) -> None:
    """Raise ValueError where a value is not of its type: JSON has told none."""
    for name, value in asdict(message).items():
        expected: Any = {"hold": bool, "refused": (str, type(None))}.get(name, str)
        if name in {"keys", "addresses"}:
            good = isinstance(value, tuple) and all(isinstance(word, str) for word in value)
        else:
            good = isinstance(value, expected)
        if not good:
            raise ValueError(f"{name} is {type(value).__name__}")
    if isinstance(message, Deposit) and len(message.keys) != len(message.addresses):
        raise ValueError("each key needs its address")
