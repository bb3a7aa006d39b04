"""The messages between a guard and the listener when sockets are handed over.

Each message is one packet. The guard sends `Hello`; the listener answers with `Offer` and its held
sockets. Then the guard sends `Keep` if nothing has changed, or `Deposit` with all sockets that
php-fpm gets now; the listener answers `Done`. Sockets travel beside the packet, in the order of
`keys`.

Laws:
1. After a message that is not understood, the connection is closed and nothing is held.
2. Plain words and classes: clients wait while a guard starts, and json, typing or dataclasses cost
   two to seven milliseconds each.
3. Guard and listener can have different versions. `name` and the order of `fields` never change;
   new fields are appended and optional. A receiver ignores unknown fields.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias, TypeVar

    Message = TypeVar("Message", "Hello", "Offer", "Keep", "Deposit", "Done")
    Packet: TypeAlias = "Hello | Offer | Keep | Deposit | Done"

#: Where the listener waits for guards, in its state_dir.
SOCKET_NAME = "guard.sock"
#: Sockets that one packet can carry (Linux: 253), and its bytes.
MOST_SOCKETS, LONGEST = 200, 128 << 10
#: Seconds that each side waits for the next message.
PATIENCE_S = 1.0


class Hello:
    """Guard: I will become php-fpm."""

    name, fields, required = "Hello", ("group", "process", "hold"), 3

    def __init__(self, group: str, process: str, hold: bool) -> None:  # noqa: FBT001 - one of three fields
        """`hold`: False = release the sockets of this process."""
        self.group, self.process, self.hold = group, process, hold


class Offer:
    """Listener: these sockets are held for you."""

    name, fields, required = "Offer", ("refused", "stamp", "watched", "keys", "masters"), 4

    def __init__(
        self,
        refused: str,
        stamp: str,
        watched: tuple[str, ...],
        keys: tuple[str, ...],
        masters: tuple[str, ...] = (),
    ) -> None:
        """refused: why nothing is held, or empty; stamp, watched: as deposited.

        masters: pid and start of earlier guards of this process, as `orphans.parse` reads them.
        """
        self.refused, self.stamp, self.watched, self.keys = refused, stamp, watched, keys
        self.masters = masters


class Keep:
    """Guard: php-fpm gets the offered sockets; hold them further."""

    name, fields, required = "Keep", (), 0


class Deposit:
    """Guard: hold exactly these sockets."""

    name, fields, required = "Deposit", ("stamp", "watched", "keys", "addresses"), 4

    def __init__(
        self,
        stamp: str,
        watched: tuple[str, ...],
        keys: tuple[str, ...],
        addresses: tuple[str, ...],
    ) -> None:
        """stamp: of `fast_start.stamp`; empty = no fast start. watched: its paths.

        keys: the names of the sockets in FPM_SOCKETS; addresses: of each, as configured.
        """
        if len(keys) != len(addresses):
            raise ValueError("each key needs its address")
        self.stamp, self.watched, self.keys, self.addresses = stamp, watched, keys, addresses


class Done:
    """Listener: the sockets are held."""

    name, fields, required = "Done", (), 0


_FIELD, _ITEM = "\0", "\1"
_LISTS, _FLAGS = {"watched", "keys", "addresses", "masters"}, {"hold"}


def encode(message: Packet) -> bytes:
    """Return the packet, without empty optional fields at its end.

    Raises ValueError if a value contains a separator.
    """
    words = [message.name]
    for field in message.fields:
        value = getattr(message, field)
        if field in _LISTS:
            if any(not item or _ITEM in item for item in value):
                raise ValueError("a value cannot be sent")
            value = _ITEM.join(value)
        elif field in _FLAGS:
            value = "1" if value else ""
        words.append(value)
    while len(words) > 1 + message.required and not words[-1]:
        del words[-1]
    if any(_FIELD in word for word in words):
        raise ValueError("a value cannot be sent")
    return _FIELD.join(words).encode(errors="surrogateescape")


def decode(packet: bytes, kinds: tuple[type[Packet], ...]) -> Packet:
    """Return the message, of one of these kinds. Raises ValueError if the packet is none.

    Fields of newer versions are ignored; missing optional fields are empty.
    """
    name, *words = packet.decode(errors="surrogateescape").split(_FIELD)
    kind = next((one for one in kinds if one.name == name), None)
    if kind is None or len(words) < kind.required:
        raise ValueError("an unexpected message")
    values: list[object] = []
    for field, word in zip(kind.fields, words, strict=False):
        if field in _LISTS:
            values.append(tuple(word.split(_ITEM)) if word else ())
        else:
            values.append(word == "1" if field in _FLAGS else word)
    return kind(*values)  # type: ignore[arg-type] # by `fields`, in the order of its arguments
