"""Which sockets php-fpm would make, which are left to it, and how it is told of inherited ones."""

from __future__ import annotations

import pytest

from fpm_listener.host import addresses
from fpm_listener.phpfpm.config import ErrorLog, FpmConf, LogKind, Pool
from fpm_listener.phpfpm.inherited_sockets import environment, is_inherited
from fpm_listener.phpfpm.listen_sockets import ListenSocketSpec, Rights, specs

TCP, UNIX = "127.0.0.1:9000", "/run/www.sock"
MOST = -1  #: as many as the kernel allows


def conf(*pools: Pool) -> FpmConf:
    return FpmConf(path="/etc/php-fpm.conf", log=ErrorLog(kind=LogKind.STDERR), pools=pools)


def pool(listen: str | None, status: str | None = None, **options: str) -> Pool:
    """Return a pool; `listen_acl_users` in `options` stands for `listen.acl_users`."""
    return Pool(
        name="www",
        listen=None if listen is None else addresses.parse(listen),
        status_listen=None if status is None else addresses.parse(status),
        options={name.replace("_", ".", 1): value for name, value in options.items()},
    )


def wish(listen: str, **options: str) -> ListenSocketSpec:
    """Return the one wish of a pool."""
    (found,) = specs(conf(pool(listen, **options)))
    return found


# -- backlog ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "backlog"),
    [
        ((), MOST),
        ((5, 6), 511),
        ((7,), 511),
        ((7, 4), 511),
        ((8, 1), 511),
        ((8, 2), MOST),
        ((8, 3), MOST),
        ((9, 0), MOST),
    ],
)
@pytest.mark.parametrize("address", [TCP, UNIX])
def test_default_backlog(version: tuple[int, ...], backlog: int, address: str) -> None:
    """It is 511 up to PHP 8.1, and from 8.2 on, or where that is not known, all that is allowed."""
    (found,) = specs(conf(pool(address)), version)

    assert found.backlog == backlog
    assert found.unsupported is None


@pytest.mark.parametrize("version", [(), (7, 4), (8, 2)])
@pytest.mark.parametrize("text", ["0", "1", "128", "65535", "-1", "-7", "999999999"])
def test_the_backlog_that_is_set(version: tuple[int, ...], text: str) -> None:
    """It is the number of the configuration, in every version."""
    (found,) = specs(conf(pool(TCP, listen_backlog=text)), version)

    assert (found.backlog, found.unsupported) == (int(text), None)


@pytest.mark.parametrize("text", ["", "many", "1.5", "1e3", "0x10", "5 5", "1000000000000", "٣"])
def test_a_backlog_that_is_no_number(text: str) -> None:
    """What php-fpm makes of it is php-fpm's own affair."""
    found = wish(TCP, listen_backlog=text)

    assert found.unsupported == f"listen.backlog = {text!r} is not a number"


# -- rights ----------------------------------------------------------------------------------------


def test_default_rights() -> None:
    """A socket belongs to who makes it, and has the mode 0660."""
    assert wish(UNIX).rights == Rights(owner=None, group=None, mode=0o660)


def test_rights_that_are_set() -> None:
    """Owner and group are kept as written, name or number."""
    found = wish(UNIX, listen_owner="www-data", listen_group="33", listen_mode="0600")

    assert found.rights == Rights(owner="www-data", group="33", mode=0o600)
    assert found.unsupported is None


def test_rights_that_are_set_to_nothing() -> None:
    """Empty words are as good as none."""
    found = wish(UNIX, listen_owner="", listen_group="", listen_mode="")

    assert (found.rights, found.unsupported) == (Rights(), None)


@pytest.mark.parametrize(
    ("text", "mode"),
    [("660", 0o660), ("0666", 0o666), ("00777", 0o777), ("0", 0), ("7", 0o7), ("40", 0o40)],
)
def test_a_mode(text: str, mode: int) -> None:
    """It is octal, with or without zeros before it."""
    assert wish(UNIX, listen_mode=text).rights.mode == mode


@pytest.mark.parametrize("text", ["1660", "668", "0o660", "rw", "-660", "660 ", "u=rw"])
def test_a_mode_that_is_none(text: str) -> None:
    """The socket is left to php-fpm."""
    found = wish(UNIX, listen_mode=text)

    assert found.unsupported == f"listen.mode = {text!r} is not an octal number up to 777"


# -- what is left to php-fpm -----------------------------------------------------------------------


@pytest.mark.parametrize("option", ["listen_acl_users", "listen_acl_groups"])
def test_an_access_list(option: str) -> None:
    """php-fpm sets it on a unix socket itself; an empty one is none."""
    why = wish(UNIX, **{option: "www-data,nginx"}).unsupported

    assert why is not None
    assert "listen.acl_users" in why
    assert wish(UNIX, **{option: ""}).unsupported is None


def test_an_access_list_of_a_port() -> None:
    """It means nothing to TCP, and does not keep us from it."""
    found = wish(TCP, listen_acl_users="www-data", listen_acl_groups="nginx")

    assert found.address == addresses.parse(TCP)
    assert (found.unsupported, found.backlog) == (None, MOST)


@pytest.mark.parametrize("address", [TCP, UNIX])
def test_setfib(address: str) -> None:
    """A routing table is chosen on FreeBSD only, by php-fpm."""
    assert wish(address, listen_setfib="1").unsupported == "listen.setfib is for FreeBSD"


@pytest.mark.parametrize("path", ["/run/a,b.sock", "/run/a=b.sock", "/run/x=1/w.sock"])
def test_a_path_that_the_variable_cannot_hold(path: str) -> None:
    """Commas part the sockets of FPM_SOCKETS, and an equals sign ends a path."""
    why = wish(path).unsupported

    assert why == "FPM_SOCKETS has no way to write a path with a comma or an equals sign"


@pytest.mark.parametrize("path", ["/run/a b.sock", "/run/ä;.sock", "/run/[a].sock"])
def test_a_path_that_the_variable_can_hold(path: str) -> None:
    """Blanks and other signs are no obstacle."""
    found = wish(path)

    assert found.unsupported is None
    assert environment([(found.address.text, 3)]) == {"FPM_SOCKETS": f"{path}=3"}


# -- pools -----------------------------------------------------------------------------------------


def test_pools_in_their_order() -> None:
    """Each pool's own address comes before that of its status page."""
    found = specs(
        conf(pool("9001", "/run/s1.sock"), pool(UNIX), pool("[::1]:9002", "127.0.0.1:9003")),
    )

    assert [one.address.text for one in found] == [
        "9001",
        "/run/s1.sock",
        UNIX,
        "[::1]:9002",
        "127.0.0.1:9003",
    ]


@pytest.mark.parametrize(("version", "backlog"), [((7, 4), 511), ((8, 2), MOST)])
def test_the_status_page_has_the_rights_but_not_the_backlog(
    version: tuple[int, ...], backlog: int
) -> None:
    """php-fpm copies owner, group and mode to it; its backlog is the default."""
    words = {"listen_owner": "a", "listen_group": "b", "listen_mode": "600", "listen_backlog": "7"}
    own, status = specs(conf(pool(UNIX, "/run/status.sock", **words)), version)

    assert own.rights == status.rights == Rights(owner="a", group="b", mode=0o600)
    assert (own.backlog, status.backlog) == (7, backlog)


def test_a_backlog_that_is_no_number_is_not_the_status_pages() -> None:
    """Only the pool's own socket is left to php-fpm."""
    own, status = specs(conf(pool(TCP, "127.0.0.1:9001", listen_backlog="many")))

    assert own.unsupported is not None
    assert status.unsupported is None


@pytest.mark.parametrize("text", ["", "99999", "unix:/run/x.sock", "*:9000", "host:http"])
def test_what_is_no_address(text: str) -> None:
    """php-fpm will say so itself: there is nothing to wait for."""
    found = specs(conf(pool(text), pool(TCP, text)))

    assert [one.address.text for one in found] == [TCP]


def test_a_pool_without_an_address() -> None:
    """It wants nothing, and neither does a configuration without pools."""
    assert specs(conf(pool(None))) == ()
    assert specs(conf()) == ()


# -- the environment -------------------------------------------------------------------------------


def test_no_sockets() -> None:
    """Nothing is handed over, so no variable is set."""
    assert environment([]) == {}


def test_a_few_sockets() -> None:
    """Key and descriptor stand in php-fpm's own form."""
    assert environment([("127.0.0.1:9000", 5), ("::1:9000", 6), ("/run/a b.sock", 7)]) == {
        "FPM_SOCKETS": "127.0.0.1:9000=5,::1:9000=6,/run/a b.sock=7",
    }


@pytest.mark.parametrize(
    ("count", "sizes"),
    [
        (1, {"FPM_SOCKETS": 1}),
        (128, {"FPM_SOCKETS": 128}),
        (129, {"FPM_SOCKETS": 128, "FPM_SOCKETS_1": 1}),
        (256, {"FPM_SOCKETS": 128, "FPM_SOCKETS_1": 128}),
        (300, {"FPM_SOCKETS": 128, "FPM_SOCKETS_1": 128, "FPM_SOCKETS_2": 44}),
    ],
)
def test_many_sockets(count: int, sizes: dict[str, int]) -> None:
    """Each variable has 128, and none is lost or told twice."""
    sockets = [(f"/run/{number}.sock", number + 3) for number in range(count)]
    found = environment(sockets)

    assert {name: len(value.split(",")) for name, value in found.items()} == sizes
    assert ",".join(found.values()) == ",".join(f"{key}={fd}" for key, fd in sockets)
    assert all(map(is_inherited, found))


@pytest.mark.parametrize(
    ("variable", "inherited"),
    [
        ("FPM_SOCKETS", True),
        ("FPM_SOCKETS_1", True),
        ("FPM_SOCKETS_12", True),
        ("FPM_SOCKETS_", True),
        ("FPM_SOCKETSX", False),
        ("FPM_SOCKET", False),
        ("fpm_sockets", False),
        ("MY_FPM_SOCKETS", False),
        ("", False),
    ],
)
def test_which_variables_hand_sockets_over(variable: str, inherited: bool) -> None:  # noqa: FBT001 - a column
    """The first one's name, or that with an underscore and more behind it."""
    assert is_inherited(variable) is inherited
