"""Rules on the addresses that php-fpm listens on, and on who it is.

Each consequence was measured with php-fpm 8.2 or is in its source; see docs/checks.md.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fpm_listener.doctor.rule import FindingSeverity, Said, for_each_fpm, rule
from fpm_listener.host import addresses
from fpm_listener.host.addresses import TcpAddress, UnixAddress, UnusableAddress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm_listener.doctor.checked_config import CheckedConfig, Fpm

_E, _W, _H = FindingSeverity.ERROR, FindingSeverity.WARNING, FindingSeverity.HINT


@rule("FPM040", _E, "two pools on one address")
@for_each_fpm
def same_address(fpm: Fpm) -> Iterator[Said]:
    """Textually the same is refused; equivalent ones share a socket, or fail at start."""
    pools = [pool for pool in fpm.conf.pools if pool.listen]
    for index, pool in enumerate(pools):
        for other in pools[:index]:
            if pool.listen and other.listen and _clash(pool.listen, other.listen):
                yield Said(
                    fpm.in_fpm(pool.name, "listen"),
                    f"pool {pool.name} listens on {pool.listen.text}, pool {other.name} on"
                    f" {other.listen.text}",
                    "php-fpm does not start, or both share one socket and requests land in either"
                    " pool, as either user; php-fpm -t is content",
                    "an address of its own for each pool",
                )


def _clash(one: addresses.Address, other: addresses.Address) -> bool:
    if addresses.same(one, other):
        return True
    if isinstance(one, TcpAddress) and isinstance(other, TcpAddress) and one.port == other.port:
        everywhere = {None, "0.0.0.0", "::"}  # noqa: S104 - compared, not bound
        return one.host in everywhere or other.host in everywhere
    return False


@rule("FPM041", _E, "two programs on one address")
def two_programs(checkup: CheckedConfig) -> Iterator[Said]:
    """The second master never starts."""
    for index, fpm in enumerate(checkup.fpms):
        for other in checkup.fpms[:index]:
            if other.process.section.name == fpm.process.section.name:
                continue  # numprocs: a rule of its own
            mine = [pool.listen for pool in fpm.conf.pools if pool.listen]
            theirs = [pool.listen for pool in other.conf.pools if pool.listen]
            shared = next((a for a in mine for b in theirs if _clash(a, b)), None)
            if shared is not None:
                yield Said(
                    fpm.at("command"),
                    f"{fpm.process.group} and {other.process.group} both listen on {shared.text}",
                    "whoever comes second fails with 78, for ever",
                    "one program, or configurations with addresses of their own (-y)",
                )


@rule("FPM042", _E, "the distribution starts php-fpm as well")
def distribution(checkup: CheckedConfig) -> Iterator[Said]:
    """Its unit takes the address at boot."""
    for unit in checkup.machine.enabled_units():
        number = re.search(r"\d+\.\d+", unit)
        for fpm in checkup.fpms:
            version = ".".join(map(str, fpm.version))
            if number is None or not version or version.startswith(number[0]):
                yield Said(
                    fpm.at("command"),
                    f"systemd has {unit} enabled",
                    "both use the same addresses and pid file: whoever comes second does not start",
                    f"systemctl disable --now {unit}",
                )


@rule("FPM043", _E, "an address that cannot be listened on")
@for_each_fpm
def unusable(fpm: Fpm) -> Iterator[Said]:
    """php-fpm -t is content with most of them."""
    for pool in fpm.conf.pools:
        if isinstance(pool.listen, UnusableAddress):
            yield Said(
                fpm.in_fpm(pool.name, "listen"),
                f"listen = {pool.listen.text}: {pool.listen.why}",
                "php-fpm does not start, though php-fpm -t is content",
                "a path, a port, or host:port",
            )


@rule("FPM044", _E, "the folder of a socket is missing")
def socket_folder(checkup: CheckedConfig) -> Iterator[Said]:
    """/run is empty after a reboot."""
    for fpm in checkup.fpms:
        for pool in fpm.conf.pools:
            if isinstance(pool.listen, UnixAddress):
                folder = pool.listen.path.rpartition("/")[0] or "/"
                if not checkup.machine.is_folder(folder):
                    user = pool.user or "www-data"
                    yield Said(
                        fpm.in_fpm(pool.name, "listen"),
                        f"{folder} does not exist",
                        "php-fpm cannot make its socket, and does not start; below /run that is so"
                        " after every boot, unless something makes the folder",
                        f"install -d -o {user} {folder}",
                    )


@rule("FPM045", _E, "everybody may speak to php-fpm")
@for_each_fpm
def open_socket(fpm: Fpm) -> Iterator[Said]:
    """FastCGI runs any file that it is told of."""
    for pool in fpm.conf.pools:
        mode = fpm.option(pool, "listen.mode")
        is_path = isinstance(pool.listen, UnixAddress)
        if is_path and re.fullmatch(r"0?[0-7]*[2367]", mode or ""):
            yield Said(
                fpm.in_fpm(pool.name, "listen.mode"),
                f"listen.mode = {mode}",
                "every user of this host can run PHP code as the pool's user",
                "listen.mode = 0660, with the web server's group in listen.group",
                fpm.edits_in_fpm(pool.name, {"listen.mode": "0660"}),
            )


@rule("FPM046", _H, "the web server may not reach the socket")
@for_each_fpm
def socket_owner(fpm: Fpm) -> Iterator[Said]:
    """By default the socket is the master's, mode 0660."""
    for pool in fpm.conf.pools:
        if isinstance(pool.listen, UnixAddress) and not any(
            fpm.option(pool, f"listen.{key}")
            for key in ("owner", "group", "mode", "acl_users", "acl_groups")
        ):
            yield Said(
                fpm.in_fpm(pool.name, "listen.owner"),
                "listen.owner, listen.group and listen.mode are not set",
                "the socket is root's with mode 0660: a web server that is another user gets"
                " permission denied (13), and answers 502",
                "listen.owner = www-data",
            )


@rule("FPM047", _E, "php-fpm listens to the world")
@for_each_fpm
def everywhere(fpm: Fpm) -> Iterator[Said]:
    """A bare port is every interface.

    Docker's official image listens so in zz-docker.conf: there the network of the container decides
    who reaches it.
    """
    for pool in fpm.conf.pools:
        address = pool.listen
        if not isinstance(address, TcpAddress) or fpm.option(pool, "listen.allowed_clients"):
            continue
        if address.host in {None, "0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
            where = fpm.in_fpm(pool.name, "listen")
            is_docker = "/zz-docker.conf" in where and address.text == "9000"
            yield Said(
                where,
                f"listen = {address.text} is every interface, without listen.allowed_clients",
                "whoever reaches the port can run PHP code here",
                f"listen = 127.0.0.1:{address.port}, or listen.allowed_clients",
                severity=_W if is_docker else None,
            )


@rule("FPM048", _W, "a port of outgoing connections")
def ephemeral(checkup: CheckedConfig) -> Iterator[Said]:
    """An outgoing connection may have it."""
    low, high = checkup.machine.port_range()
    for fpm in checkup.fpms:
        for pool in fpm.conf.pools:
            address = pool.listen
            if isinstance(address, TcpAddress) and low <= address.port <= high:
                yield Said(
                    fpm.in_fpm(pool.name, "listen"),
                    f"port {address.port} is within net.ipv4.ip_local_port_range ({low} to {high})",
                    "an outgoing connection may own it when php-fpm starts: Address already in use,"
                    " with nobody listening",
                    f"a port below {low}, or net.ipv4.ip_local_reserved_ports={address.port}",
                )


@rule("FPM049", _E, "an unknown user or group")
def unknown_user(checkup: CheckedConfig) -> Iterator[Said]:
    """php-fpm looks them up at its start."""
    known = {"user": checkup.machine.user, "group": checkup.machine.group}
    for fpm in checkup.fpms:
        for pool in fpm.conf.pools:
            for key in ("user", "group", "listen.owner", "listen.group"):
                name = fpm.option(pool, key)
                kind = "user" if key in {"user", "listen.owner"} else "group"
                if name and not name.isdigit() and not known[kind](name):
                    yield Said(
                        fpm.in_fpm(pool.name, key),
                        f"{key} = {name}: there is no such {kind}",
                        "php-fpm does not start (78)",
                        f"{kind}add {name}, or another {kind}",
                    )


@rule("FPM050", _E, "a pool as root")
@for_each_fpm
def as_root(fpm: Fpm) -> Iterator[Said]:
    """Refused without -R; php-fpm -t is content."""
    for pool in fpm.conf.pools:
        if pool.user in {"root", "0"} and not fpm.invocation.allow_root:
            yield Said(
                fpm.in_fpm(pool.name, "user"),
                "user = root",
                "php-fpm does not start, though php-fpm -t is content",
                "user = www-data",
            )
