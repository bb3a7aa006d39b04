"""php-fpm's configuration is read as php-fpm reads it; what is broken becomes a problem."""

import errno
import fnmatch
import os

from hypothesis import given
from hypothesis import strategies as st

from fpm_listener.core.fpmcommand import FpmInvocation, Layout
from fpm_listener.core.fpmconf import FpmConf, LogKind, load

MAIN = "/etc/php-fpm.conf"
LAYOUT = Layout(config=MAIN, prefix="/usr", localstatedir="/var")


class FakeFiles:
    """Files in a dict."""

    def __init__(self, texts: dict[str, str]) -> None:
        self.texts = texts

    def read(self, path: str) -> str:
        """Return a file's text. Raises OSError."""
        if path not in self.texts:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return self.texts[path]

    def glob(self, pattern: str) -> list[str]:
        """Return the paths that match, sorted."""
        return sorted(fnmatch.filter(self.texts, pattern))


def read(
    text: str,
    *,
    invocation: FpmInvocation | None = None,
    environment: dict[str, str] | None = None,
    **others: str,
) -> FpmConf:
    """Return what is made of a main file, and others named `x__y` for /x/y.conf."""
    texts = {"/" + name.replace("__", "/") + ".conf": words for name, words in others.items()}
    files = FakeFiles({MAIN: text, **texts})
    return load(MAIN, files, layout=LAYOUT, invocation=invocation, environment=environment)


def listens(conf: FpmConf) -> dict[str, str]:
    return {pool.name: pool.listen for pool in conf.pools}


def test_a_plain_configuration() -> None:
    """Global words, pools and their addresses are told."""
    conf = read(
        """
        ; comment
        [global]
        error_log = /var/log/fpm.log
        process_control_timeout = 1m
        daemonize = no
        [www]
        LISTEN = 127.0.0.1:9000 ; the address
        pm.status_listen = 9001
        """,
    )
    assert (conf.log_kind, conf.error_log) == (LogKind.FILE, "/var/log/fpm.log")
    assert (conf.daemonize, conf.process_control_timeout_s) == (False, 60.0)
    assert conf.addresses == ("127.0.0.1:9000", "9001")
    assert (conf.files, conf.problems) == ((MAIN,), ())


def test_words_before_any_section() -> None:
    """They are global."""
    assert read("daemonize=off\n[a]\nlisten=1").daemonize is False


def test_a_section_twice() -> None:
    """Names are compared without regard to case; the sections are one, the last value wins."""
    conf = read("[W]\nlisten=1\npm=static\n[b]\nlisten=2\n[w]\nlisten=3")
    assert listens(conf) == {"W": "3", "b": "2"}
    assert conf.pools[0].options["pm"] == "static"


def test_the_image_with_its_overriding_file() -> None:
    """An include relative to the prefix, in the order of names: the last one wins."""
    conf = read(
        "include=etc/d/*.conf",
        usr__etc__d__www="[www]\nlisten = /run/x.sock",
        usr__etc__d__docker="[global]\nerror_log = /proc/self/fd/2\n[www]\nclear_env = no",
        usr__etc__d__zz="[global]\ndaemonize = no\n[www]\nlisten = 9000",
    )
    assert listens(conf) == {"www": "9000"}
    assert (conf.log_kind, conf.error_log, conf.daemonize) == (LogKind.STDERR, None, False)
    assert [path.rpartition("/")[2] for path in conf.files[1:]] == [
        "docker.conf",
        "www.conf",
        "zz.conf",
    ]


def test_an_include_inside_a_pool() -> None:
    """The section goes on in the included file, and that file's last section after it."""
    conf = read("[a]\nlisten=1\ninclude=/x.conf\npm=b", x="user=u\n[b]\nlisten=2")
    assert conf.pools[0].options == {"listen": "1", "user": "u"}
    assert conf.pools[1].options == {"listen": "2", "pm": "b"}


def test_includes_without_end() -> None:
    """A file that includes itself is read a few times."""
    conf = read("[a]\nlisten=1\ninclude=/etc/php-fpm.conf")
    assert len(conf.files) < 10
    assert any("nested" in problem for problem in conf.problems)
    assert listens(conf) == {"a": "1"}


def test_values() -> None:
    """Quotes, comments and variables, as PHP's scanner takes them."""
    conf = read(
        "[a]\nlisten = \"127.0.0.1:${PORT}\" ; c\nslowlog = 'a;${PORT}'\nenv[A] = ${NONE}x"
        '\nenv[B] = a = b\nenv[C] = ${NONE:-d}\naccess.log = "x;y"\nenv[D] = 1 # 2',
        environment={"PORT": "9000"},
    )
    assert conf.pools[0].options == {
        "listen": "127.0.0.1:9000",
        "slowlog": "a;${PORT}",
        "env[a]": "x",
        "env[b]": "a = b",
        "env[c]": "d",
        "access.log": "x;y",
        "env[d]": "1 # 2",
    }


def test_line_ends() -> None:
    """PHP's scanner ends a line at CR, LF or both, and at no other character."""
    conf = read("[a]\rlisten=1\r\nenv[A] = x\x0by\u2028z\nuser=u")
    assert conf.pools[0].options == {"listen": "1", "env[a]": "x\x0by\u2028z", "user": "u"}


def test_the_pools_name_in_a_value() -> None:
    """$pool stands for it."""
    assert listens(read("[www]\nlisten = /run/$pool.sock")) == {"www": "/run/www.sock"}


def test_listen_forms() -> None:
    """What has no colon and is no number is a path, below the pool's prefix or php-fpm's."""
    conf = read(
        "[a]\nlisten=9000\n[b]\nlisten=[::1]:9000\n[c]\nlisten=x.sock\n"
        "[d]\nprefix=/p\nlisten=x.sock\n[e]\nprefix=rel\nlisten=x.sock\n[f]\nlisten=unix:/x\n[g]\n",
    )
    assert listens(conf) == {
        "a": "9000",
        "b": "[::1]:9000",
        "c": "/usr/x.sock",
        "d": "/p/x.sock",
        "e": "/usr/rel/x.sock",
        "f": "unix:/x",
        "g": "",
    }


def test_a_relative_status_listen() -> None:
    """php-fpm 8.2 binds it below its own prefix, though `listen` is below the pool's."""
    conf = read("[a]\nprefix=/p\nlisten=x.sock\npm.status_listen=s.sock")
    assert conf.addresses == ("/p/x.sock", "/usr/s.sock")


def test_a_prefix_on_the_command_line() -> None:
    """Relative paths are below it, the log's default too."""
    conf = read("[a]\nlisten=x.sock", invocation=FpmInvocation(binary="php-fpm", prefix="/p"))
    assert (listens(conf)["a"], conf.error_log) == ("/p/x.sock", "/p/log/php-fpm.log")


def test_where_the_log_goes() -> None:
    """A file, stderr or syslog."""
    pool = "\n[a]\nlisten=1"
    for value, kind, path in (
        ("", LogKind.FILE, "/var/log/php-fpm.log"),
        ("log/x.log", LogKind.FILE, "/var/log/x.log"),
        ("/x.log", LogKind.FILE, "/x.log"),
        ("Syslog", LogKind.SYSLOG, None),
        ("/dev/stderr", LogKind.STDERR, None),
        ("/proc/self/fd/2", LogKind.STDERR, None),
    ):
        conf = read(f"error_log = {value}{pool}")
        assert (conf.log_kind, conf.error_log) == (kind, path), value


def test_the_command_line_wins() -> None:
    """-F and -D decide; -O sends the log to stderr, but of a php-fpm in the foreground only."""
    text = "daemonize = no\nerror_log=/x.log\n[a]\nlisten=1"
    dark = FpmInvocation(binary="php-fpm", foreground=False, force_stderr=True)
    conf = read(text, invocation=dark)
    assert (conf.daemonize, conf.log_kind) == (True, LogKind.FILE)
    light = FpmInvocation(binary="php-fpm", foreground=True, force_stderr=True)
    conf = read(text, invocation=light)
    assert (conf.daemonize, conf.log_kind) == (False, LogKind.STDERR)


def test_what_is_broken() -> None:
    """Each is a problem, and all else is read."""
    conf = read("# shell comment\ninclude=/none/*.conf\n[a]\nlisten=1")
    assert len(conf.problems) == 2
    assert "/etc/php-fpm.conf:1:" in conf.problems[0]
    assert listens(conf) == {"a": "1"}


def test_no_pool_and_no_file() -> None:
    """Both are problems."""
    assert "no pool" in read("daemonize=no").problems[0]
    conf = load("/none", FakeFiles({}), layout=LAYOUT)
    assert "/none: cannot be read: No such file or directory" in conf.problems
    assert conf.pools == ()


def test_an_address_of_two_pools() -> None:
    """It is wanted once."""
    assert read("[a]\nlisten=1\n[b]\nlisten=1\npm.status_listen=2").addresses == ("1", "2")


@given(
    st.text(st.sampled_from("[]a=;\n\r\"'${}:- \x0b\u2028global") | st.characters(), max_size=60)
)
def test_any_text(text: str) -> None:
    """Nothing raises."""
    read(text)
