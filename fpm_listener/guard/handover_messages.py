"""What a guard and the listener say to each other when sockets are handed over.

One conversation, each message one packet. The guard says `Hello`; the listener answers with an
`Offer` and the sockets it holds. Then the guard says `Keep`, where nothing has changed, or makes a
`Deposit` of all that php-fpm is given now, and the listener says `Done`. Sockets travel beside the
packet, in the order of `keys`.

Laws:
1. Whoever is not understood is hung up on, and php-fpm starts without a hold.
2. Plain words and plain classes: clients wait while a guard starts, and json, typing or dataclasses
   would cost it two to seven milliseconds each.
3. Guard and listener can have different versions. `name` and the order of `fields` never change;
   new fields are appended and optional. A receiver ignores fields that it does not know.
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
#: Seconds that either side waits for the other's next word.
PATIENCE_S = 1.0


class Hello:
    """Guard: I am about to become php-fpm."""

    name, fields, required = "Hello", ("group", "process", "hold"), 3

    def __init__(self, group: str, process: str, hold: bool) -> None:  # noqa: FBT001 - one of three words
        """`hold`: False = let go of what is held for this process."""
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
        """Say what is held.

        refused: why nothing is held, or empty; stamp, watched: as they were deposited; masters: pid
        and start of the guards of this process, as `masters.parse` reads them.
        """
        self.refused, self.stamp, self.watched, self.keys = refused, stamp, watched, keys
        self.masters = masters


class Keep:
    """Guard: php-fpm gets what you offer; go on holding it."""

    name, fields, required = "Keep", (), 0


class Deposit:
    """Guard: hold these, and nothing else."""

    name, fields, required = "Deposit", ("stamp", "watched", "keys", "addresses"), 4

    def __init__(
        self,
        stamp: str,
        watched: tuple[str, ...],
        keys: tuple[str, ...],
        addresses: tuple[str, ...],
    ) -> None:
        """Say what is deposited.

        stamp: the circumstances; empty = the next guard shall read everything again; watched: files
        and folders that it was made of; keys: by which php-fpm knows the sockets; addresses: of
        each, as php-fpm's configuration has it.
        """
        if len(keys) != len(addresses):
            raise ValueError("each key needs its address")
        self.stamp, self.watched, self.keys, self.addresses = stamp, watched, keys, addresses


class Done:
    """Listener: they are held."""

    name, fields, required = "Done", (), 0


_FIELD, _ITEM = "\0", "\1"
_LISTS, _FLAGS = {"watched", "keys", "addresses", "masters"}, {"hold"}


def encode(message: Packet) -> bytes:
    """Return the packet, without optional fields at its end that are empty.

    Raises ValueError where a value has a sign of ours in it.
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
    """Return the message, of one of these kinds. Raises ValueError where the packet is none.

    Fields that a newer version has added are ignored; optional ones that are missing are empty.
    """
    name, *words = packet.decode(errors="surrogateescape").split(_FIELD)
    kind = next((one for one in kinds if one.name == name), None)
    if kind is None or len(words) < kind.required:
        raise ValueError("this is not what was to be said now")
    values: list[object] = []
    for field, word in zip(kind.fields, words, strict=False):
        if field in _LISTS:
            values.append(tuple(word.split(_ITEM)) if word else ())
        else:
            values.append(word == "1" if field in _FLAGS else word)
    return kind(*values)  # type: ignore[arg-type] # by `fields`, in the order of its arguments
