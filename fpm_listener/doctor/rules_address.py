"""Rules on the addresses that php-fpm listens on, and on the users that it runs as.

Each consequence was measured with php-fpm 8.2 or is in its source.
"""

from __future__ import annotations

import ipaddress
import re
from itertools import islice
from typing import TYPE_CHECKING

from fpm_listener.doctor.checked_config import folder_of, fpms, pools, whole
from fpm_listener.doctor.machine import is_number
from fpm_listener.doctor.rule import match, rule
from fpm_listener.host import addresses
from fpm_listener.host.addresses import TcpAddress, UnixAddress, UnusableAddress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm_listener.doctor.checked_config import CheckedConfig, CheckedPool, Fpm, Section
    from fpm_listener.doctor.rule import Match
    from fpm_listener.host.addresses import Address

#: Keys with names, and keys with lists of them: users or groups.
_NAMES = {"user": "user", "group": "group", "listen.owner": "user", "listen.group": "group"}
_ROOT = {"root", "0"}
_LISTS = {"listen.acl_users": "user", "listen.acl_groups": "group"}


def _unix_sockets(config: CheckedConfig) -> list[Section]:
    return [pool.section for pool in pools(config) if isinstance(pool.listen, UnixAddress)]


def _is_open(mode: str | None) -> bool:
    return re.fullmatch(r"0?[0-7]*[2367]", mode or "") is not None


@rule("FPM040", fpms)
def same_address(fpm: Fpm) -> Iterator[Match]:
    """php-fpm refuses the same text; equivalent addresses share a socket, or fail at start."""
    used = [
        (key, pool, address)
        for pool, read in zip(fpm.pools, fpm.conf.pools, strict=True)
        for key, address in (("listen", read.listen), ("pm.status_listen", read.status_listen))
        if address
    ]
    before: dict[object, list[tuple[str, Address]]] = {}
    for key, pool, own in used:
        alike = before.setdefault(addresses.port_or_path(own), [])
        first = next((one for one in alike if addresses.clash(own, one[1])), None)
        if first is not None:
            names = {"pool": pool.name, "address": own.text}
            yield match(pool.section, key, **names, other=first[0], other_address=first[1].text)
        alike.append((pool.name, own))


@rule("FPM041", whole)
def two_programs(config: CheckedConfig) -> Iterator[Match]:
    """The second master does not start."""
    before: dict[object, list[tuple[Fpm, Address]]] = {}
    for fpm in config.fpms:
        own = [pool.listen for pool in fpm.conf.pools if pool.listen]
        shared = (
            (address, other)
            for address in own
            for other, others in before.get(addresses.port_or_path(address), ())
            # numprocs has its own rule
            if other.program.name != fpm.program.name and addresses.clash(address, others)
        )
        for address, other in islice(shared, 1):
            groups = {"group": fpm.process.group, "other": other.process.group}
            yield match(fpm.program, "command", **groups, address=address.text)
        for address in own:
            before.setdefault(addresses.port_or_path(address), []).append((fpm, address))


@rule("FPM042", fpms)
def distribution(fpm: Fpm) -> Iterator[Match]:
    """Its systemd unit gets the address at boot."""
    version = ".".join(map(str, fpm.version))
    for unit in fpm.machine.enabled_units():
        number = re.search(r"\d+\.\d+", unit)
        if number is None or not version or version.startswith(number[0]):
            yield match(fpm.program, "command", unit=unit)


@rule("FPM043", pools)
def unusable(pool: CheckedPool) -> Iterator[Match]:
    """php-fpm -t accepts most of them."""
    if isinstance(pool.listen, UnusableAddress):
        yield match(pool.section, "listen", address=pool.listen.text, reason=pool.listen.why)


@rule("FPM044", pools)
def socket_folder(pool: CheckedPool) -> Iterator[Match]:
    """/run is empty after a reboot."""
    if isinstance(pool.listen, UnixAddress):
        folder = folder_of(pool.listen.path)
        if not pool.fpm.machine.is_folder(folder):
            yield match(pool.section, "listen", folder=folder, user=pool.user or "www-data")


@rule("FPM045", whole)
def open_socket(config: CheckedConfig) -> Iterator[Match]:
    """No edit: with 0660, the web server's user must be the owner or in the group of the socket."""
    is_container = config.partial is not None or config.machine.in_container()
    for section in _unix_sockets(config):
        mode = section.values.get("listen.mode")
        if _is_open(mode):
            variant = "container" if is_container else ""
            yield match(section, "listen.mode", {}, variant, value=mode)


def _sockets_of_root(config: CheckedConfig) -> list[Section]:
    """Return the pools whose sockets root creates; elsewhere an image can have another user."""
    is_here = config.partial is None
    known = [pool for pool in pools(config) if is_here or pool.fpm.uid == 0]
    return [pool.section for pool in known if isinstance(pool.listen, UnixAddress)]


@rule("FPM046", _sockets_of_root)
def socket_owner(section: Section) -> Iterator[Match]:
    """By default the socket belongs to the user of the master and has mode 0660."""
    keys = ("owner", "group", "mode", "acl_users", "acl_groups")
    if not any(section.get(f"listen.{key}") for key in keys):
        yield match(section, "listen.owner")


@rule("FPM047", whole)
def everywhere(config: CheckedConfig) -> Iterator[Match]:
    """A port without a host means every interface.

    In a container, its network decides who reaches the port. Docker's official image has it in
    zz-docker.conf. A pool without a known program is for a web server in another container.
    """
    is_elsewhere = config.partial is not None
    for pool in () if is_elsewhere and not config.processes else pools(config):
        address = pool.listen
        if not isinstance(address, TcpAddress) or pool.section.get("listen.allowed_clients"):
            continue
        if address.host in addresses.EVERYWHERE:
            file = pool.section.where("listen").file
            is_docker = "/zz-docker.conf" in file and address.text == "9000"
            is_container = is_elsewhere or config.machine.in_container()
            variant = "docker" if is_container or is_docker else ""
            texts = {"address": address.text, "port": address.port}
            yield match(pool.section, "listen", {}, variant, **texts)


@rule("FPM048", pools)
def ephemeral(pool: CheckedPool) -> Iterator[Match]:
    """The kernel chooses ports of outgoing connections from a range."""
    low, high = pool.fpm.machine.port_range()
    if isinstance(pool.listen, TcpAddress) and low <= pool.listen.port <= high:
        yield match(pool.section, "listen", port=pool.listen.port, low=low, high=high)


def _unknown_names(pool: CheckedPool, *, used: bool) -> Iterator[Match]:
    """Match names that do not exist: those that a start uses, or the others."""
    exists = {"user": pool.fpm.machine.user, "group": pool.fpm.machine.group}
    is_root = pool.fpm.uid in {None, 0}
    for key, kind in _NAMES.items():
        is_used = is_root if key == kind else isinstance(pool.listen, UnixAddress)
        name = pool.section.get(key) if is_used == used else ""
        if name and not is_number(name) and not exists[kind](name):
            yield match(pool.section, key, name=name, kind=kind)


@rule("FPM049", pools)
def unknown_user(pool: CheckedPool) -> Iterator[Match]:
    """php-fpm needs their numbers when it starts. Without root it ignores user and group."""
    yield from _unknown_names(pool, used=True)
    exists = {"user": pool.fpm.machine.user, "group": pool.fpm.machine.group}
    for key, kind in _LISTS.items() if isinstance(pool.listen, UnixAddress) else ():
        # php-fpm keeps blanks after a comma, and takes no numbers here.
        for name in filter(None, pool.section.get(key).split(",")):
            if name != name.strip() and exists[kind](name.strip()):
                yield match(pool.section, key, {}, "blank", name=name, kind=kind)
            elif not exists[kind](name.strip()):
                yield match(pool.section, key, name=name.strip(), kind=kind)


@rule("FPM085", pools)
def unused_name(pool: CheckedPool) -> Iterator[Match]:
    """php-fpm -t looks up names that a start does not use."""
    yield from _unknown_names(pool, used=False)


@rule("FPM073", pools)
def allowed_clients(pool: CheckedPool) -> Iterator[Match]:
    """php-fpm resolves no names, and knows no networks. It keeps blanks after a comma."""
    value = pool.section.values.get("listen.allowed_clients")
    if value is None or not isinstance(pool.listen, TcpAddress):
        return
    clients = str(value).split(",")
    wrong = [one for one in clients if not _is_ip(one)]
    if wrong:
        variant = "all" if len(wrong) == len(clients) else ""
        names = ", ".join(repr(one) for one in wrong)
        yield match(pool.section, "listen.allowed_clients", {}, variant, clients=names)


def _is_ip(text: str) -> bool:
    """Return whether inet_pton(3) takes it."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


@rule("FPM050", pools)
def as_root(pool: CheckedPool) -> Iterator[Match]:
    """php-fpm refuses it without -R."""
    if pool.fpm.uid not in {None, 0}:
        return
    is_lone = not pool.fpm.program.place.file  # no known program, so no known option
    keys = [key for key in ("user", "group") if pool.section.get(key) in _ROOT]
    if keys and (is_lone or not pool.fpm.invocation.allow_root):
        names = {"value": pool.section.get(keys[0]), "kind": keys[0]}
        yield match(pool.section, keys[0], None, "option" if is_lone else "", **names)


RULES = (
    *(
        open_socket,
        same_address,
        two_programs,
        distribution,
        unusable,
        socket_folder,
        socket_owner,
        everywhere,
    ),
    *(ephemeral, unknown_user, unused_name, as_root, allowed_clients),
)
