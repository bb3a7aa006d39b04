"""What we read of a configuration is what php-fpm itself says of it (`php-fpm -tt`)."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from fpm_listener.core import fpmcommand, fpmconf
from fpm_listener.core.fpmconf import FpmConf
from fpm_listener.programs import DiskFiles

BINARY = shutil.which("php-fpm8.2") or ""
USER = "user = www-data\n" if os.geteuid() == 0 else ""

POOL = USER + "pm = static\npm.max_children = 2\n"
ENVIRONMENT = {"PORT": "9077"}

#: A name, the main file, the file that {dir}/inc/*.conf matches, and the command line's options.
CASES = {
    "addresses": (
        (
            "[a]\nlisten = 9101\n{pool}[b]\nlisten = 127.0.0.1:9102\n{pool}"
            "[c]\nlisten = [::1]:9103\n{pool}[d]\nlisten = {dir}/$pool.sock\n{pool}"
        ),
        "",
        (),
    ),
    "names": ("[W]\nLISTEN = 1\n{pool}[b]\nlisten = 2\n{pool}[w]\nlisten = 3\n", "", ()),
    "values": (
        (
            '[a]\nlisten = "127.0.0.1:${{PORT}}" ; c\n{pool}'
            "[b]\nlisten = '127.0.0.1:1' ; c\nslowlog = {dir}/$pool.slow ; c\n{pool}"
            '[c]\nlisten = 127.0.0.1:9001 # c\n{pool}[d]\nlisten = "127.0.0.1:${{NO_SUCH}}"\n{pool}'
        ),
        "",
        (),
    ),
    "times": (
        "process_control_timeout = 2m\ndaemonize = off\n[a]\nlisten = 1\n{pool}",
        "",
        (),
    ),
    "sections in and out of an include": (
        "[a]\nlisten = 1\ninclude = {dir}/inc/*.conf\nlisten = 4\n",
        "{pool}[b]\nlisten = 2\n{pool}",
        (),
    ),
    "prefix of the command line": (
        (
            "[a]\nlisten = x.sock\n{pool}[b]\nprefix = sub\nlisten = x.sock\n{pool}"
            "[c]\nprefix = {dir}/sub\nlisten = y.sock\npm.status_listen = 127.0.0.1:9104\n{pool}"
        ),
        "",
        ("-p", "{dir}"),
    ),
    "log below the prefix": (
        "error_log = log/mine.log\ninclude = inc/*.conf\n",
        "[a]\nlisten = 1\n{pool}",
        ("-p", "{dir}"),
    ),
    "default log below the prefix": ("[a]\nlisten = 1\n{pool}", "", ("-p", "{dir}", "-F")),
    "prefix that was compiled in": ("[a]\nlisten = x.sock\n{pool}[b]\nlisten=@b\n{pool}", "", ()),
    "log to syslog": ("error_log = SYSLOG\n[a]\nlisten = 1\n{pool}", "", ("-F",)),
}

Dump = dict[str, dict[str, str]]


def dump(arguments: list[str]) -> Dump:
    """Return what php-fpm says of its configuration: section, key, value."""
    done = subprocess.run(
        [BINARY, "-tt", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, **ENVIRONMENT},
    )
    assert done.returncode == 0, done.stderr
    found: Dump = {}
    section: dict[str, str] = {}
    for line in done.stderr.splitlines():
        text = re.sub(r"^(\[\d.*?\] NOTICE:|\[NOTICE\]) ", "", line)
        if named := re.fullmatch(r"\[([^\]]+)\]", text):
            section = found.setdefault(named[1], {})
        elif text.startswith("\t"):
            key, _, value = text[1:].partition(" = ")
            section[key] = "" if value == "undefined" else value
    return found


def agree(conf: FpmConf, real: Dump) -> None:
    """Assert that php-fpm says what we have read."""
    assert conf.problems == ()
    glob = real.pop("global")
    assert [pool.name for pool in conf.pools] == list(real)
    for pool in conf.pools:
        assert pool.listen == real[pool.name]["listen"]
        assert pool.status_listen == real[pool.name]["pm.status_listen"]
    assert (conf.error_log or "syslog") == glob["error_log"].replace("SYSLOG", "syslog")
    assert conf.daemonize == (glob["daemonize"] == "yes")
    assert f"{conf.process_control_timeout_s:.0f}s" == glob["process_control_timeout"]


@pytest.mark.parametrize("name", CASES)
def test_a_configuration(name: str, tmp_path: Path) -> None:
    """Pools, addresses, log, daemonize and time agree."""
    main, included, options = CASES[name]
    for folder in ("inc", "sub", "log"):
        (tmp_path / folder).mkdir()
    words = {"dir": str(tmp_path), "pool": POOL}
    path = tmp_path / "main.conf"
    text = main.format(**words)
    if "-p" not in options and "error_log" not in text:
        text = f"error_log = {tmp_path}/error.log\n{text}"
    path.write_text(text)
    if included:
        (tmp_path / "inc" / "x.conf").write_text(included.format(**words))
    arguments = [option.format(**words) for option in options] + ["-y", str(path)]
    invocation = fpmcommand.find(f"{BINARY} {' '.join(arguments)}")
    assert invocation is not None
    conf = fpmconf.load(
        str(path),
        DiskFiles(None),
        layout=fpmcommand.layouts(invocation)[0],
        invocation=invocation,
        environment=ENVIRONMENT,
    )
    agree(conf, dump(arguments))


def test_the_distributions_own_files(tmp_path: Path) -> None:
    """The package's configuration is found and read whole; only the log is put elsewhere to ask."""
    invocation = fpmcommand.FpmInvocation(binary=BINARY)
    layout = fpmcommand.layouts(invocation)[0]
    conf = fpmconf.load(layout.config, DiskFiles(None), layout=layout, invocation=invocation)
    assert conf.addresses == ("/run/php/php8.2-fpm.sock",)
    assert conf.error_log == "/var/log/php8.2-fpm.log"
    copy = tmp_path / "copy.conf"
    text = Path(layout.config).read_text()
    copy.write_text(re.sub(r"(?m)^error_log.*", f"error_log = {tmp_path}/e.log", text))
    copied = fpmconf.load(str(copy), DiskFiles(None), layout=layout, invocation=invocation)
    agree(copied, dump(["-y", str(copy)]))


def test_what_php_fpm_refuses(tmp_path: Path) -> None:
    """A shell's comment is an error to php-fpm and a problem to us."""
    path = tmp_path / "x.conf"
    path.write_text(f"error_log = {tmp_path}/e.log\n# comment\n[a]\nlisten = 1\n{POOL}")
    done = subprocess.run([BINARY, "-t", "-y", path], check=False, capture_output=True, timeout=30)
    assert done.returncode != 0
    invocation = fpmcommand.FpmInvocation(binary=BINARY)
    layout = fpmcommand.layouts(invocation)[0]
    conf = fpmconf.load(str(path), DiskFiles(None), layout=layout)
    assert f"{path}:2" in conf.problems[0]
