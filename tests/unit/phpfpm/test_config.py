"""php-fpm's configuration is read as php-fpm reads it; what is broken becomes a problem."""

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm_listener.host.addresses import TcpAddress, UnixAddress, UnusableAddress, parse
from fpm_listener.phpfpm.command_line import FpmInvocation
from fpm_listener.phpfpm.config import (
    ErrorLog,
    FpmConf,
    Layout,
    LogKind,
    Pool,
    effective_error_log,
    load,
)
from tests.fakes import FakeFiles

MAIN = "/etc/php-fpm.conf"
LAYOUT = Layout(config=MAIN, prefix="/usr", localstatedir="/var")


def read(
    text: str,
    *,
    invocation: FpmInvocation | None = None,
    environment: dict[str, str] | None = None,
    others: dict[str, str] | None = None,
    **more: str | None,
) -> FpmConf:
    """Return what is made of a main file, and others named `x__y` for /x/y.conf."""
    named = {**(others or {}), **more}
    texts = {"/" + name.replace("__", "/") + ".conf": words for name, words in named.items()}
    files = FakeFiles({MAIN: text, **texts})
    return load(MAIN, files, layout=LAYOUT, invocation=invocation, environment=environment)


def value(text: str, environment: dict[str, str] | None = None, binary: str = "php-fpm") -> str:
    """Return what a word of a pool becomes."""
    invocation = FpmInvocation(binary=binary)
    conf = read(f"[www]\nuser = {text}\n", environment=environment, invocation=invocation)
    return conf.pools[0].options["user"]


def listens(conf: FpmConf) -> dict[str, str]:
    return {pool.name: pool.listen.text for pool in conf.pools if pool.listen}


def test_a_plain_configuration() -> None:
    """Global words, pools and their addresses are told."""
    conf = read(
        "; comment\n[global]\nerror_log = /var/log/fpm.log\nprocess_control_timeout = 1m\n"
        "daemonize = no\npid = run/fpm.pid\nlog_level = WARN\nemergency_restart_threshold = 10\n"
        "emergency_restart_interval = 2h\n[www]\n\tLISTEN = 127.0.0.1:9000 ; the address\n"
        "pm.status_listen = 9001\nuser = u\ngroup = g\npm = static\n",
    )
    assert (conf.log_kind, conf.error_log) == (LogKind.FILE, "/var/log/fpm.log")
    assert (conf.daemonize, conf.process_control_timeout_s) == (False, 60.0)
    assert (conf.pid_file, conf.log_level) == ("/var/run/fpm.pid", "warning")
    assert conf.emergency_restart_threshold == 10
    assert conf.emergency_restart_interval_s == 7200.0
    pool = conf.pools[0]
    assert pool.listen == TcpAddress(text="127.0.0.1:9000", host="127.0.0.1", port=9000)
    assert pool.status_listen == TcpAddress(text="9001", host=None, port=9001)
    assert (pool.name, pool.user, pool.group) == ("www", "u", "g")
    assert pool.options["pm"] == "static"
    assert conf.addresses == ("127.0.0.1:9000", "9001")
    assert (conf.files, conf.problems) == ((MAIN,), ())


def test_nothing_is_said() -> None:
    """php-fpm has its defaults: it goes to the background, and its log is below localstatedir."""
    conf = read("[a]")
    assert conf.log == ErrorLog(kind=LogKind.FILE, path="/var/log/php-fpm.log")
    assert (conf.daemonize, conf.log_level, conf.pid_file) == (True, "notice", None)
    assert (conf.process_control_timeout_s, conf.emergency_restart_threshold) == (0.0, 0)
    pool = conf.pools[0]
    assert (pool.listen, pool.status_listen, pool.user, pool.group) == (None, None, None, None)
    assert (conf.addresses, conf.problems) == ((), ())


# -- sections and files ----------------------------------------------------------------------------


def test_words_before_any_section() -> None:
    """They are global, and a pool ends where [global] begins anew."""
    conf = read("daemonize=off\n[a]\nlisten=1\n[Global]\npid=/p\n")
    assert (conf.daemonize, conf.pid_file) == (False, "/p")
    assert [pool.name for pool in conf.pools] == ["a"]


def test_a_section_twice() -> None:
    """Names are compared without regard to case; the sections are one, the last value wins."""
    conf = read("[W]\nlisten=1\npm=static\n[b]\nlisten=2\n[w]\nlisten=3")
    assert listens(conf) == {"W": "3", "b": "2"}
    assert conf.pools[0].options["pm"] == "static"


def test_names_of_sections() -> None:
    """Blanks belong to a name, quotes do not, variables are replaced; the line may go on."""
    conf = read("[a ] ; c\n['b c']\n[d${X}] listen = 1\n", environment={"X": "e"})
    assert [pool.name for pool in conf.pools] == ["a ", "b c", "de"]
    assert (listens(conf), conf.problems) == ({"de": "1"}, ())


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
    assert conf.pools[0].options["clear_env"] == ""
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
    """Five files within each other are read, as php-fpm reads them; then it is said where."""
    conf = read("[a]\nlisten=1\ninclude=/etc/php-fpm.conf")
    assert conf.files == (MAIN,) * 5
    assert conf.problems == (f"{MAIN}:3: includes are nested deeper than 5 files",)
    assert listens(conf) == {"a": "1"}


@pytest.mark.parametrize("count", [20, 500])
def test_files_that_include_each_other(count: int) -> None:
    """After the fifth level each file is read once more at most; none is left out."""
    others = {f"d__{n}": f"[p{n}]\nlisten={n + 1}\ninclude=/d/*.conf" for n in range(count)}
    conf = read("include=/d/*.conf", others=others)
    assert len(conf.pools) == count
    assert len(conf.files) <= count + 5
    assert "includes are nested deeper than 5 files" in conf.problems[0]
    assert len(conf.problems) <= 100


def test_includes_that_multiply() -> None:
    """Levels that php-fpm allows can still multiply; the number of files has a limit."""
    last = {f"2__{n}": "[www]" for n in range(30)}
    first = {f"0__{n}": "include=/1/*.conf" for n in range(30)}
    second = {f"1__{n}": "include=/2/*.conf" for n in range(30)}
    conf = read("include=/0/*.conf", others={**first, **second, **last})
    assert len(conf.files) == 2000
    assert any("more than 2000 files are included" in problem for problem in conf.problems)


@pytest.mark.parametrize(
    "text",
    [
        "[www]\nx = " + "a" * 70_000,
        "[" + "n" * 30_000 + "]\nx = " + "$pool" * 10_000,
        "[www]\nx = " + "${LONG}" * 5000,
        '[www]\nx = "' + "${LONG}" * 5000 + '"',
        "[" + "${LONG}" * 5000 + "]",
    ],
)
def test_values_without_end(text: str) -> None:
    """A line, a name or a value that grows beyond all measure is a problem, and is cut."""
    conf = read(text, environment={"LONG": "l" * 100_000})
    assert any("longer than 65536 characters" in problem for problem in conf.problems)
    texts = [value for pool in conf.pools for value in (pool.name, *pool.options.values())]
    assert all(len(value) <= 65536 for value in texts)


def test_as_many_problems_as_lines() -> None:
    """A hundred are kept."""
    assert len(read("nonsense\n" * 1000).problems) == 100


def test_a_folder_among_the_included() -> None:
    """php-fpm passes it over; as the main file it is a problem."""
    conf = read("include=/d/*.conf\n[a]", d__x=None, d__y="daemonize=no")
    assert (conf.daemonize, conf.problems) == (False, ())
    conf = load("/d", FakeFiles({"/d": None}), layout=LAYOUT)
    assert conf.problems[0] == "/d: cannot be read: is a directory"


# -- values ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b  c ", "a b  c"),
        ("a;b", "a"),
        ("a ; b", "a"),
        ("a # b", "a # b"),
        ("a#b\\c", "a#b\\c"),
        ('"a;b" ; c', "a;b"),
        ("'a;b' ; c", "a;b"),
        ('""', ""),
        ('x"a"y', "xay"),
        ('a "b" c', "abc"),
        ("a 'b' c", "a b c"),
        ("'a''b'", "ab"),
        (r'"a\"b\\c\nd\$e"', r'a"b\c\nd$e'),
        (r"'a\b'", r"a\b"),
        ("yes", "1"),
        ("ON ; c", "1"),
        ("No", ""),
        ("none", ""),
        ('"yes"', "yes"),
        ("yesterday", "yesterday"),
        ("x$y$", "x$y$"),
        ('x$"y${X}', 'x$"y1;2'),
        ("$;y", "$;y"),
        ('$\\"y', '$\\"y'),
        ("$${X}", "$${X}"),
        ("$pool.$pool", "www.www"),
        ("'$pool'", "www"),
        ("x${X}y", "x1;2y"),
        ('"${X} ${Y}"', "1;2 two"),
        ("${ Y }", "two"),
        ("'${X}'", "${X}"),
        (r'"\${X}"', "${X}"),
        ("a${NONE}b", "ab"),
    ],
)
def test_a_value(text: str, expected: str) -> None:
    """Quotes, comments, bare words and variables, as PHP's scanner takes them."""
    assert value(text, {"X": "1;2", "Y": "two"}) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${NONE:-d}", "d"),
        ("${NONE:-127.0.0.1:9000}", "127.0.0.1:9000"),
        ('x${NONE:-"a b"}y', "xa by"),
        ("${NONE:-${X}}", "1"),
        ("${NONE:-${NO:-n}}", "n"),
        ("${X:-d}", "1"),
        ("${EMPTY:-d}", ""),
        ('"${NONE:-d}e"', "de"),
    ],
)
def test_a_variable_with_a_fallback(text: str, expected: str) -> None:
    """PHP 8.3 has it; an older one finds nothing. Where the version is not known, it is taken."""
    environment = {"X": "1", "EMPTY": ""}
    assert value(text, environment) == expected
    assert value(text, environment, "php-fpm8.4") == expected
    assert value("x${NONE:-d}y", environment, "php-fpm8.2") == "xy"


def test_keys() -> None:
    """Those of a list keep their case, all others have none; the same key again replaces."""
    conf = read("[a]\nEnv[ Path ]=x\nenv[path]=y\nPM = static\npm=dynamic\nphp_value[e] = A & ~B\n")
    assert conf.pools[0].options == {
        "Env[Path]": "x",
        "env[path]": "y",
        "pm": "dynamic",
        "php_value[e]": "A & ~B",
    }
    assert conf.problems == ()


@pytest.mark.parametrize(
    ("text", "value", "sign"),
    [
        *[("1 | 2", "3", "|"), ("~1", "-2", "~"), ("!0", "1", "!"), ("(7 & 3) ^ 1", "2", "&")],
        *[("4294967297 | 0", "1", "|"), ("a^b", "0", "^"), ("(a)", "a", ""), ("a|b|9", "9", "|")],
        *[("it's lost", "it", "'"), ("'a' b 'c", "a b ", "'"), ("yes 'x", "1", "'")],
        *[('"C:\\"', "C:\\", ""), ("x", "x", "")],
    ],
)
def test_what_php_fpm_makes_of_a_value(text: str, value: str, sign: str) -> None:
    """Operators compute a number, and an open single quote ends the value: as php-fpm8.2 -tt."""
    conf = read(f"[a]\nlisten=1\naccess.log = {text}")
    assert conf.pools[0].options["access.log"] == value
    assert conf.entries[-1].sign == sign
    assert conf.problems == ()


def test_line_ends() -> None:
    """PHP's scanner ends a line at CR, LF or both, and at no other character; a BOM is passed."""
    conf = read("\ufeff[a]\rlisten=1\r\nenv[A] = x\x0by\u2028z\nuser=u")
    assert conf.pools[0].options == {"listen": "1", "env[A]": "x\x0by\u2028z", "user": "u"}
    assert conf.problems == ()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *[("10", 10.0), ("10s", 10.0), ("1m", 60.0), ("2h", 7200.0), ("1d", 86400.0)],
        *[("5 m", 300.0), ("1.5m", 60.0), ("10ms", 10.0), ("m", 0.0), ('"2m"', 120.0)],
    ],
)
def test_times(text: str, seconds: float) -> None:
    """A number and a unit; of other text php-fpm takes what it can."""
    conf = read(f"process_control_timeout = {text}\n[a]")
    assert (conf.process_control_timeout_s, conf.problems) == (seconds, ())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *[("yes", True), ("TRUE", True), ("1", True), ('"on"', True), ("${ON}", True)],
        *[("no", False), ("Off", False), ("0", False), ("", False), ("null", False)],
        *[('"false"', False)],
    ],
)
def test_booleans(text: str, *, expected: bool) -> None:
    """php-fpm knows the usual words, in quotes too."""
    conf = read(f"daemonize = {text}\n[a]", environment={"ON": "on"})
    assert (conf.daemonize, conf.problems) == (expected, ())


# -- addresses and paths ---------------------------------------------------------------------------


def test_listen_forms() -> None:
    """What has no colon and is no number is a path, below the pool's prefix or php-fpm's."""
    conf = read(
        "[a]\nlisten=9000\n[b]\nlisten=[::1]:9000\n[c]\nlisten=x.sock\n"
        "[d]\nprefix=/p\nlisten=x.sock\n[e]\nprefix=rel\nlisten=$pool.sock\n"
        "[f]\nprefix=\nlisten=x.sock\n",
    )
    assert listens(conf) == {
        "a": "9000",
        "b": "[::1]:9000",
        "c": "/usr/x.sock",
        "d": "/p/x.sock",
        "e": "/usr/rel/e.sock",
        "f": "/x.sock",
    }


def test_an_address_that_cannot_be_used() -> None:
    """It is told as it stands, with the reason."""
    conf = read("[a]\nlisten=unix:/x\n[b]\nlisten=127.0.0.1:${PORT}")
    assert conf.addresses == ("unix:/x", "127.0.0.1:")
    assert all(isinstance(pool.listen, UnusableAddress) for pool in conf.pools)


def test_a_relative_status_listen() -> None:
    """php-fpm binds it below its own prefix, though `listen` is below the pool's."""
    conf = read("[a]\nprefix=/p\nlisten=x.sock\npm.status_listen=s.sock")
    assert conf.addresses == ("/p/x.sock", "/usr/s.sock")
    assert conf.pools[0].status_listen == UnixAddress(text="/usr/s.sock", path="/usr/s.sock")


def test_an_address_of_two_pools() -> None:
    """It is wanted once."""
    assert read("[a]\nlisten=1\n[b]\nlisten=1\npm.status_listen=2").addresses == ("1", "2")


def test_a_prefix_on_the_command_line() -> None:
    """Relative paths are below it, those of localstatedir too."""
    invocation = FpmInvocation(binary="php-fpm", prefix="/p")
    conf = read("pid=x.pid\n[a]\nlisten=x.sock", invocation=invocation)
    assert conf.addresses == ("/p/x.sock",)
    assert (conf.error_log, conf.pid_file) == ("/p/log/php-fpm.log", "/p/x.pid")
    root = read("[a]\nlisten=x.sock", invocation=FpmInvocation(binary="php-fpm", prefix=""))
    assert root.addresses == ("/x.sock",)


def test_a_relative_prefix_on_the_command_line() -> None:
    """php-fpm puts a pool's paths below it twice, all others once."""
    invocation = FpmInvocation(binary="php-fpm", prefix="p")
    conf = read("[a]\nlisten=x\n[b]\nprefix=sub\nlisten=y\n", invocation=invocation)
    assert conf.addresses == ("p/p/x", "p/p/sub/y")
    assert conf.error_log == "p/log/php-fpm.log"


def test_a_pid_file_on_the_command_line() -> None:
    """The configuration's own wins over it."""
    invocation = FpmInvocation(binary="php-fpm", pid_file="g.pid")
    assert read("[a]", invocation=invocation).pid_file == "/var/g.pid"
    assert read("pid=/c.pid\n[a]", invocation=invocation).pid_file == "/c.pid"


# -- the log ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "path"),
    [
        ("log/x.log", LogKind.FILE, "/var/log/x.log"),
        ("/x.log", LogKind.FILE, "/x.log"),
        ("Syslog", LogKind.SYSLOG, None),
        ("/dev/stderr", LogKind.STDERR, None),
        ("/proc/self/fd/2", LogKind.STDERR, None),
        ("/dev/fd/2", LogKind.STDERR, None),
        ("/dev/stdout", LogKind.DEVICE, "/dev/stdout"),
        ("/proc/1/fd/2", LogKind.DEVICE, "/proc/1/fd/2"),
    ],
)
def test_where_the_log_goes(text: str, kind: LogKind, path: str | None) -> None:
    """A file, stderr, syslog, or a stream that only others can read: no path to follow then."""
    conf = read(f"error_log = {text}\n[a]")
    assert conf.log == ErrorLog(kind=kind, path=path)
    assert (conf.log_kind, conf.error_log) == (kind, path if kind is LogKind.FILE else None)


def test_the_command_line_wins() -> None:
    """-F and -D decide; -O sends the log to stderr, but of a php-fpm in the foreground only."""
    text = "daemonize = no\nerror_log=/x.log\n[a]\nlisten=1"
    dark = FpmInvocation(binary="php-fpm", foreground=False, force_stderr=True)
    conf = read(text, invocation=dark)
    assert (conf.daemonize, conf.log_kind) == (True, LogKind.FILE)
    light = FpmInvocation(binary="php-fpm", foreground=True, force_stderr=True)
    conf = read(text, invocation=light)
    assert (conf.daemonize, conf.log_kind) == (False, LogKind.STDERR)


def test_a_log_under_another_command_line() -> None:
    """The same is told of a configuration that was read without one."""
    stderr, file = ErrorLog(kind=LogKind.STDERR), ErrorLog(kind=LogKind.FILE, path="/x.log")
    for daemonize, foreground, log in (
        ("yes", None, file),
        ("yes", True, stderr),
        ("no", None, stderr),
        ("no", False, file),
    ):
        conf = read(f"daemonize = {daemonize}\nerror_log=/x.log\n[a]")
        forced = FpmInvocation(binary="php-fpm", foreground=foreground, force_stderr=True)
        assert effective_error_log(conf, forced) == log
        quiet = FpmInvocation(binary="php-fpm", foreground=foreground)
        assert effective_error_log(conf, quiet) == file


# -- what is broken --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("# shell comment", "this line is neither [section] nor key = value"),
        ("listen", "this line is neither [section] nor key = value"),
        ("[open", "this line is neither [section] nor key = value"),
        ("  [c]", "blanks before a section's ["),
        ('env[A] = "secret', "env[A]: a quote or a ${ is not closed"),
        ("env[A] = 'secret", "env[A]: a quote or a ${ is not closed"),
        ("env[A;] = secret", "this line is neither [section] nor key = value"),
        ("env[A] = ${secret", "env[A]: a quote or a ${ is not closed"),
        ("env[A] = ${}", "env[A]: a quote or a ${ is not closed"),
        ("env[A] = secret=1", "env[A]: a quote or a ${ is not closed, or a = is outside"),
        ("env[A] = secret &", "env[A]: & computes a number and needs other values"),
        ("env[A] = (secret", "env[A]: ( computes a number and needs other values"),
        ("env[A] = (a) secret", "env[A]: ( computes a number and needs other values"),
        ("access.format = yes secret", "access.format: the word 'yes' needs quotes"),
        ("include=/none/*.conf", "/none/ of the include '/none/*.conf' does not exist"),
        ("include=/x.conf", "the included /x.conf cannot be read: Permission denied"),
    ],
)
def test_what_is_broken(line: str, problem: str) -> None:
    """It is told by file and line, without what may be a secret, and all else is read."""

    class Files(FakeFiles):
        def read(self, path: str) -> str:
            if path == "/x.conf":
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
            return super().read(path)

    files = Files({MAIN: f"[a]\n{line}\nlisten=1\n[b]\nlisten=2\n", "/x.conf": ""})
    conf = load(MAIN, files, layout=LAYOUT)
    assert len(conf.problems) == 1
    assert conf.problems[0].startswith(f"{MAIN}:2: {problem}")
    assert "secret" not in conf.problems[0]
    assert set(conf.addresses) == {"1", "2"}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("daemonize = maybe", "php-fpm refuses daemonize = 'maybe'"),
        ('daemonize = "YES"', "php-fpm refuses daemonize = 'YES'"),
        ("process_control_timeout = 10x", "php-fpm refuses process_control_timeout = '10x'"),
        ("emergency_restart_interval =", "php-fpm refuses emergency_restart_interval = ''"),
        ("emergency_restart_threshold = 1k", "php-fpm refuses emergency_restart_threshold = '1k'"),
        ("log_level = loud", "php-fpm refuses log_level = 'loud'"),
        ("pid = /run/$pool.pid", "pid: $pool means nothing outside a pool"),
    ],
)
def test_a_global_word_that_is_refused(line: str, problem: str) -> None:
    """php-fpm does not start with it; the default stands in."""
    conf = read(f"\n{line}\n[a]\nlisten=1")
    assert conf.problems == (f"{MAIN}:2: {problem}",)
    assert (conf.daemonize, conf.log_level) == (True, "notice")
    assert conf.process_control_timeout_s == conf.emergency_restart_interval_s == 0.0


def test_no_pool_and_no_file() -> None:
    """Both are problems."""
    assert read("daemonize=no").problems == (f"{MAIN}: no pool is defined",)
    conf = load("/none", FakeFiles({}), layout=LAYOUT)
    assert "/none: cannot be read: No such file or directory" in conf.problems
    assert (conf.pools, conf.files) == ((), ())


@given(
    st.text(st.sampled_from("[]a=;\n\r\"'${}:-\\ \x0b\u2028global") | st.characters(), max_size=60)
)
def test_any_text(text: str) -> None:
    """Nothing raises."""
    read(text, environment={"a": "b"})
    read("[a]\nlisten=" + text)
    read("include=" + text + "\nprocess_control_timeout=" + text)


@pytest.mark.parametrize(
    ("one", "other", "rivals"),
    [
        ("9000", "127.0.0.1:9000", (("127.0.0.1:9000", "a", "b"),)),
        ("0.0.0.0:9000", "127.0.0.1:9000", (("127.0.0.1:9000", "a", "b"),)),
        ("[::]:9000", "127.0.0.1:9000", (("127.0.0.1:9000", "a", "b"),)),
        ("0.0.0.0:9000", "[::1]:9000", ()),
        ("localhost:9000", "127.0.0.1:9000", ()),  # they share a socket
        ("9000", "9000", ()),  # php-fpm reports that itself
        ("127.0.0.1:9000", "127.0.0.2:9000", ()),
        ("9000", "9001", ()),
    ],
)
def test_pools_that_keep_an_address_from_each_other(
    one: str, other: str, rivals: tuple[tuple[str, str, str], ...]
) -> None:
    """The second pool cannot bind its address."""
    pools = tuple(Pool(name=name, listen=parse(text)) for name, text in (("a", one), ("b", other)))
    conf = FpmConf(path="/f.conf", log=ErrorLog(kind=LogKind.STDERR), pools=pools)

    assert conf.rivals == rivals
