"""What we read of a command line and a configuration is what php-fpm itself says (`-tt`)."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pytest

from fpm_listener.host import addresses
from fpm_listener.host.addresses import UnusableAddress
from fpm_listener.phpfpm import command_line, config, config_files
from fpm_listener.phpfpm.config import FpmConf, LogKind
from fpm_listener.phpfpm.config_files import DiskFiles

#: Without php-fpm every test here fails: there is nothing to compare with.
BINARY = shutil.which("php-fpm8.2", path=f"{os.environ['PATH']}:/usr/sbin") or "php-fpm8.2"
USER = "user = www-data\n" if os.geteuid() == 0 else ""

POOL = USER + "pm = static\npm.max_children = 2\n"
ENVIRONMENT = {"PORT": "9077", "WORD": "a;b", "TIME": "7m", "OFF": "off", "EMPTY": ""}

#: The three files of the official Docker image, as far as they say something.
IMAGE = {
    "etc/php-fpm.conf": "[global]\n;pid = run/php-fpm.pid\ninclude=etc/php-fpm.d/*.conf\n",
    "etc/php-fpm.d/docker.conf": (
        "[global]\nerror_log = /proc/self/fd/2\n\n; https://github.com/docker-library\n"
        "log_limit = 8192\n\n[www]\naccess.log = /proc/self/fd/2\n\nclear_env = no\n\n"
        "; Ensure worker stdout and stderr are sent to the main error log.\n"
        "catch_workers_output = yes\ndecorate_workers_output = no\n"
    ),
    "etc/php-fpm.d/www.conf": (
        "[www]\nuser = www-data\ngroup = www-data\nlisten = 127.0.0.1:9000\n"
        ";listen.backlog = 511\npm = dynamic\npm.max_children = 5\npm.start_servers = 2\n"
        "pm.min_spare_servers = 1\npm.max_spare_servers = 3\n"
        ";php_admin_value[memory_limit] = 32M\n"
    ),
    "etc/php-fpm.d/zz-docker.conf": "[global]\ndaemonize = no\n\n[www]\nlisten = 9000\n",
}


class Case(NamedTuple):
    """A configuration; {dir} stands for its folder, {pool} for what every pool must say."""

    main: str
    others: Mapping[str, str] = MappingProxyType({})
    options: str = ""


CASES = {
    "addresses": Case(
        "[a]\nlisten = 9101\n{pool}[b]\nlisten = 127.0.0.1:9102\n{pool}[c]\nlisten = [::1]:9103\n"
        "{pool}[d]\nlisten = {dir}/$pool.sock\n{pool}[e]\nlisten = unix:/x\n{pool}"
        "[f]\nlisten = 99999\n{pool}[g]\nlisten = *:9104\n{pool}",
    ),
    "names": Case("[W]\nLISTEN = 1\n{pool}[b]\nlisten = 2\n{pool}[w]\nlisten = 3\n"),
    "strange names": Case(
        "[a ]\nlisten=1\n{pool}[ 'b c' ] ; x\nlisten=2\n{pool}[d${PORT}] listen=3\n{pool}",
    ),
    "words before any section": Case("daemonize = no\n[a]\nlisten=1\n{pool}"),
    "quotes and comments": Case(
        "; first\n[a] ; here\nlisten = '127.0.0.1:1' ; c\n{pool}env[A] = \"a;b\" ; c\n"
        'env[B] = a b  c;d\nenv[C] = x"a"y \'z\'\nenv[D] = 1 # 2\nenv[E] = a "b" c\n'
        "env[F] = a#b\\c\nenv[G] = \"a\\\"b\\\\c\\nd\"\nenv[H] = 'a''b\\'\n",
    ),
    "variables": Case(
        '[a]\nlisten = "127.0.0.1:${PORT}"\n{pool}[b]\nlisten = 127.0.0.1:${PORT}1\n{pool}'
        "env[A] = x${WORD}y\nenv[B] = '${WORD}'\nenv[C] = \"${WORD} ${EMPTY}z\"\n"
        'env[D] = x$PORT$\nenv[G] = x$"y$;$${PORT}z\nenv[E] = "\\${PORT}"\nenv[F] = ${ PORT }\n'
        '[c]\nlisten = "127.0.0.1:${NO_SUCH}"\n{pool}[d]\nlisten = 1${NO_SUCH:-2}\n{pool}',
    ),
    "a pool's name": Case(
        "[a.b]\nlisten = {dir}/$pool.sock\n{pool}env[A] = $pool-$pool\nenv[B] = '$poolx'\n",
    ),
    "units": Case(
        "process_control_timeout = 2m\nemergency_restart_interval = 1d\n"
        "emergency_restart_threshold = 10\ndaemonize = off\n[a]\nlisten = 1\n{pool}",
    ),
    "strange units": Case(
        'process_control_timeout = "5 m"\nemergency_restart_interval = 1.5h\n[a]\nlisten=1\n{pool}',
    ),
    "units of variables": Case(
        "process_control_timeout = ${TIME}\ndaemonize = ${OFF}\n[a]\nlisten = 1\n{pool}",
    ),
    "sections in and out of an include": Case(
        "[a]\nlisten = 1\ninclude = {dir}/inc/*.conf\nlisten = 4\n",
        {"inc/x.conf": "{pool}[b]\nlisten = 2\n{pool}", "inc/sub.conf/x": ""},
    ),
    "includes within includes": Case(
        "include = {dir}/1.conf\n[a]\nlisten = 1000\n{pool}",
        {
            **{
                f"{n}.conf": f"[p{n}]\nlisten={n}\n{{pool}}include={{dir}}/{n + 1}.conf\n"
                for n in (1, 2, 3)
            },
            "4.conf": "[p4]\nlisten=4\n{pool}",
        },
    ),
    "includes in their order": Case(
        "include = {dir}/inc/*.conf\n",
        {
            "inc/B.conf": "[x]\nlisten=1\n{pool}",
            "inc/a.conf": "[x]\nlisten=2\n",
            "inc/é.conf": "[x]\nlisten=3\n",
            "inc/.h.conf": "[x]\nlisten=4\n",
        },
    ),
    "prefix of the command line": Case(
        "pid = run/x.pid\n[a]\nlisten = x.sock\n{pool}[b]\nprefix = sub\nlisten = x.sock\n{pool}"
        "[c]\nprefix = {dir}/sub\nlisten = y.sock\npm.status_listen = 127.0.0.1:9104\n{pool}"
        "[d]\nprefix =\nlisten = {dir}/z.sock\n{pool}",
        {"sub/x": ""},
        "-p {dir}",
    ),
    "relative prefix": Case(
        "pid = run/x.pid\ninclude = inc/*.conf\n[a]\nlisten = x.sock\n{pool}"
        "[b]\nprefix = sub\nlisten = x.sock\n{pool}",
        {"p/sub/x": "", "p/inc/x.conf": "process_control_timeout = 3\n"},
        "-p p",
    ),
    "log below the prefix": Case(
        "error_log = log/mine.log\ninclude = inc/*.conf\n",
        {"inc/x.conf": "[a]\nlisten = 1\n{pool}", "log/x": ""},
        "-p {dir}",
    ),
    "default log below the prefix": Case("[a]\nlisten=1\n{pool}", {"log/x": ""}, "-p {dir} -F"),
    "prefix that was compiled in": Case(
        "pid = run/x.pid\n[a]\nlisten = x.sock\n{pool}[b]\nlisten=@b\n{pool}",
    ),
    "log to syslog": Case("error_log = SYSLOG\n[a]\nlisten = 1\n{pool}", options="-F"),
    "the log's device": Case("error_log = /dev/null\n[a]\nlisten = 1\n{pool}"),
    "pid file of the command line": Case("[a]\nlisten = 1\n{pool}", options="-g x.pid -D"),
    "pid file of both": Case(
        "pid = {dir}/c.pid\n[a]\nlisten = 1\n{pool}", options="-g {dir}/g.pid"
    ),
    "line ends": Case("[a]\r\nlisten = 1\r\nenv[A] = x\x0by\r\r\n{pool}"),
    "a byte order mark": Case("\ufeff; x\n[a]\nlisten = 1\n{pool}"),
}
for word in (
    "yes",
    "no",
    "On",
    "OFF",
    "true",
    "FALSE",
    "1",
    "0",
    "none",
    "null",
    '"on"',
    "'0'",
    "",
):
    CASES[f"boolean {word}"] = Case(f"daemonize = {word}\n[a]\nlisten = 1\n{{pool}}")

Dump = dict[str, dict[str, str]]


def run(
    arguments: list[str],
    folder: Path,
    environment: Mapping[str, str] = MappingProxyType(ENVIRONMENT),
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BINARY, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=200,
        cwd=folder,
        env={**os.environ, **environment},
    )


def dump(
    arguments: list[str],
    folder: Path,
    environment: Mapping[str, str] = MappingProxyType(ENVIRONMENT),
) -> Dump:
    """Return what php-fpm says of its configuration: section, key, value."""
    done = run(["-tt", *arguments], folder, environment)
    assert done.returncode == 0, done.stderr
    found: Dump = {}
    section: dict[str, str] = {}
    for line in done.stderr.split("\n"):
        text = re.sub(r"^(\[\d.*?\] NOTICE:|\[NOTICE\]) ", "", line)
        if named := re.fullmatch(r"\[([^\]]+)\]", text):
            section = found.setdefault(named[1], {})
        elif text.startswith("\t"):
            key, _, value = text[1:].partition(" = ")
            section.setdefault(key, "" if value == "undefined" else value)  # the newest env first
    return found


def load(arguments: list[str], folder: Path) -> FpmConf:
    """Return what we read of the same files for the same command line."""
    invocation = command_line.find(f"{BINARY} {' '.join(arguments)}")
    assert invocation is not None
    layout = config_files.layouts(invocation)[0]
    return config.load(
        config_files.config_candidates(invocation)[0],
        DiskFiles(str(folder)),
        layout=layout,
        invocation=invocation,
        environment=ENVIRONMENT,
    )


def agree(conf: FpmConf, real: Dump) -> None:
    """Assert that php-fpm says what we have read."""
    assert conf.problems == ()
    glob = real.pop("global")
    logged = glob["error_log"].replace("SYSLOG", "syslog")
    if conf.log_kind is LogKind.STDERR:  # by either name, or by -O, of which -tt says nothing
        logged = "/proc/self/fd/2"
    assert {
        "error_log": log_of(conf),
        "pid": conf.pid_file or "",
        "daemonize": "yes" if conf.daemonize else "no",
        "process_control_timeout": f"{conf.process_control_timeout_s:.0f}s",
        "emergency_restart_interval": f"{conf.emergency_restart_interval_s:.0f}s",
        "emergency_restart_threshold": str(conf.emergency_restart_threshold),
    }.items() <= {**glob, "error_log": logged}.items()
    assert [pool.name for pool in conf.pools] == list(real)
    for pool in conf.pools:
        said = real[pool.name]
        assert pool.listen is not None
        assert pool.listen.text == said["listen"]
        assert (pool.status_listen.text if pool.status_listen else "") == said["pm.status_listen"]
        assert (pool.user or "", pool.group or "") == (said["user"], said["group"])
        ours, theirs = (
            {k: v for k, v in of.items() if k[:4] == "env["} for of in (pool.options, said)
        )
        assert ours == theirs


def log_of(conf: FpmConf) -> str:
    stderr = "/proc/self/fd/2" if conf.log_kind is LogKind.STDERR else "syslog"
    return conf.log.path or stderr


def fill(text: str, folder: Path) -> str:
    return text.replace("{dir}", str(folder)).replace("{pool}", POOL)


def lay_out(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(fill(text, folder).encode())


@pytest.mark.parametrize("name", CASES)
def test_a_configuration(name: str, tmp_path: Path) -> None:
    """Pools, addresses, log, pid file, daemonize, times and values agree."""
    text, others, options = CASES[name]
    if "error_log" not in text and "-p" not in options:
        text += "[global]\nerror_log = {dir}/error.log\n"
    lay_out(tmp_path, {"log/x": "", "p/log/x": "", **others, "main.conf": text})
    arguments = fill(f"{options} -y {{dir}}/main.conf", tmp_path).split()
    agree(load(arguments, tmp_path), dump(arguments, tmp_path))


def test_the_official_image(tmp_path: Path) -> None:
    """Its last file wins, and its log is stderr; -p alone finds the first one."""
    lay_out(tmp_path, IMAGE)
    arguments = ["-p", str(tmp_path)]
    conf = load(arguments, tmp_path)
    assert (conf.addresses, conf.daemonize) == (("9000",), False)
    assert (conf.log_kind, conf.error_log) == (LogKind.STDERR, None)
    assert [Path(path).name for path in conf.files] == [
        *("php-fpm.conf", "docker.conf", "www.conf", "zz-docker.conf"),
    ]
    agree(conf, dump(arguments, tmp_path))


def test_the_distributions_own_files(tmp_path: Path) -> None:
    """The package's configuration is found and read whole; only the log is put elsewhere to ask."""
    conf = load([], tmp_path)
    assert conf.path == "/etc/php/8.2/fpm/php-fpm.conf"
    assert conf.addresses == ("/run/php/php8.2-fpm.sock",)
    assert conf.error_log == "/var/log/php8.2-fpm.log"
    assert conf.pid_file == "/run/php/php8.2-fpm.pid"
    copy = tmp_path / "copy.conf"
    text = Path(conf.path).read_text()
    copy.write_text(re.sub(r"(?m)^error_log.*", f"error_log = {tmp_path}/e.log", text))
    agree(load(["-y", str(copy)], tmp_path), dump(["-y", str(copy)], tmp_path))


@pytest.mark.parametrize(
    "options",
    [
        "-y a.conf",
        "-ya.conf",
        "-y=a.conf",
        "-FRy a.conf",
        "-Fya.conf",
        "--fpm-config a.conf",
        "--fpm-config=a.conf",
        "-y a.conf -y b.conf",
        "-F -D -y a.conf",
        "-D -F -y a.conf",
        "--daemonize --nodaemonize=1 -y b.conf --",
        "-d -F -c -D -n -e -dO -y a.conf",
        "-yF -y a.conf -g x.pid --pid=y.pid",
        "-p p",
        "--prefix=p -D",
    ],
)
def test_a_command_line(options: str, tmp_path: Path) -> None:
    """Options are taken as php-fpm takes them: which file, which pid file, daemonize or not."""
    for name in ("a.conf", "b.conf", "p/etc/php-fpm.conf"):
        text = f"error_log = {{dir}}/e.log\n[{name}]\nlisten = 1\n{{pool}}"
        lay_out(tmp_path, {name: text})
    agree(load(options.split(), tmp_path), dump(options.split(), tmp_path))


@pytest.mark.parametrize("stop", ["word", "-z", "-", "--foo", "--pid=", "2>&1", "-Fz"])
def test_a_command_line_that_is_refused(stop: str, tmp_path: Path) -> None:
    """php-fpm says how to use it; we take no option from there on."""
    assert run(["-tt", stop, "-y", "a.conf"], tmp_path).returncode == 64
    found = command_line.find(f"{BINARY} -tt {stop} -y a.conf")
    assert found is not None
    assert (found.test_only, found.config) == (True, None)


@pytest.mark.parametrize(
    "line",
    [
        "# comment",
        "listen",
        " [b]",
        "env[B] = a = b",
        'env[B] = "a',
        "env[B] = ${PORT",
        "env[B] = ''",
        "env[B] = yes b",
        "env[B] = a(b)",
        "include = {dir}/none/*.conf",
        "include = {dir}/main.conf",
        "[global]\ndaemonize = maybe",
        '[global]\ndaemonize = "YES"',
        "[global]\nprocess_control_timeout = 10x",
        "[global]\nprocess_control_timeout =",
        "[global]\nemergency_restart_threshold = 1k",
        "[global]\nlog_level = loud",
        "[global]\npid = {dir}/$pool.pid",
    ],
)
def test_what_php_fpm_refuses(line: str, tmp_path: Path) -> None:
    """It is a problem to us as well, told by file and line, and the rest is read."""
    text = "error_log = {dir}/e.log\n[a]\nlisten = 1\n{pool}"
    lay_out(tmp_path, {"main.conf": f"{text}{line}\n[c]\nlisten = 2\n{{pool}}"})
    arguments = ["-y", f"{tmp_path}/main.conf"]
    assert run(["-t", *arguments], tmp_path).returncode == 78
    conf = load(arguments, tmp_path)
    number = fill(text + line, tmp_path).count("\n") + 1
    assert conf.problems[0].startswith(f"{tmp_path}/main.conf:{number}: ")
    assert set(conf.addresses) == {"1", "2"}


@pytest.mark.parametrize(
    "listen", ["0", "99999", "127.0.0.1:", "127.0.0.1:1x", "unix:{dir}/x", ":1", "[::1:1", "::1]:1"]
)
def test_an_address_that_php_fpm_cannot_listen_on(listen: str, tmp_path: Path) -> None:
    """`-t` is content with it, the start fails at once; we say so."""
    text = f"error_log = {{dir}}/e.log\n[a]\nlisten = {listen}\n{{pool}}"
    lay_out(tmp_path, {"main.conf": text})
    arguments = ["-F", "-y", f"{tmp_path}/main.conf"]
    assert run(["-t", *arguments], tmp_path).returncode == 0
    done = run(arguments, tmp_path)
    assert done.returncode == 78
    assert "FPM initialization failed" in done.stderr
    assert isinstance(addresses.parse(fill(listen, tmp_path)), UnusableAddress)


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    """A pipe neither blocks the reader nor loses what php-fpm would read from it."""
    pipe = tmp_path / "php-fpm.conf"
    os.mkfifo(pipe)
    writer = os.open(pipe, os.O_RDWR)
    try:
        os.write(writer, b"[www]\n")
        with pytest.raises(OSError, match="not a regular file"):
            DiskFiles(None).read(str(pipe))
        assert os.read(writer, 100) == b"[www]\n"
    finally:
        os.close(writer)


def test_a_file_without_end(tmp_path: Path) -> None:
    """It is not read into memory."""
    path = tmp_path / "php-fpm.conf"
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(OSError, match="is longer than"):
        DiskFiles(None).read(str(path))


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("/dev/stderr", LogKind.STDERR),
        ("/proc/1/fd/2", LogKind.DEVICE),
        ("other", LogKind.FILE),
        ("log", LogKind.FILE),
    ],
)
def test_a_log_that_is_a_link(target: str, kind: LogKind, tmp_path: Path) -> None:
    """Nobody can read a device, also behind a link; a loop of links is no device."""
    (tmp_path / "log").symlink_to(target)
    path = tmp_path / "fpm.conf"
    path.write_text(f"[global]\nerror_log = {tmp_path}/log\n[www]\nlisten = 9000\n")
    invocation = command_line.FpmInvocation("php-fpm", config=str(path), foreground=True)
    conf = config_files.read(invocation, directory=None, environment={})

    assert (conf.log_kind, conf.opened_log.kind) == (kind, kind)
    assert (conf.error_log is None) == (kind is not LogKind.FILE)
