"""The files of supervisord.d/, as a real supervisord and our own settings read them."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from configparser import RawConfigParser
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xmlrpc.client import ServerProxy

import pytest
from supervisor.xmlrpc import SupervisorTransport

from fpm_listener import durations
from fpm_listener.cli.arguments import SNIPPET
from fpm_listener.guard.options import parse
from fpm_listener.settings.receiver_types import KEYS, KINDS, keys
from fpm_listener.settings.receivers import PREFIX as RECEIVER_PREFIX
from fpm_listener.settings.receivers import ReceiverSettings
from fpm_listener.settings.settings import GENERAL_KEYS, SECTION, Settings, load
from tests.waiting import accepts, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

#: supervisord is started once.
pytestmark = pytest.mark.xdist_group("shipped files")

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "supervisord.d"
OURS, PHP_FPM = SHIPPED / "fpm_listener.conf", SHIPPED / "php-fpm.conf"
LISTENER_SECTION = "eventlistener:fpm-listener"

#: A setting that is commented out has no blank after the semicolon; a sentence has one.
COMMENTED_OUT = re.compile(r"^;(?=[\[a-z])", re.MULTILINE)

MAIN = """\
[unix_http_server]
file={here}/s.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisord]
logfile={here}/supervisord.log
pidfile={here}/supervisord.pid
childlogdir={here}
[include]
files={shipped}/*.conf {here}/quiet.conf
"""

#: Read, but not started: their paths are those of a real host.
QUIET = f"[{LISTENER_SECTION}]\nautostart=false\n[program:php-fpm]\nautostart=false\n"


def sections(path: Path, *, uncomment: bool = False) -> dict[str, dict[str, str]]:
    """Return the sections of an INI file, as supervisor reads it."""
    text = path.read_text(encoding="ascii")
    if uncomment:
        text = COMMENTED_OUT.sub("", text)
    parser = RawConfigParser(inline_comment_prefixes=(";", "#"), strict=not uncomment)
    parser.read_string(text)
    return {name: dict(parser.items(name)) for name in parser.sections()}


@pytest.fixture(scope="module")
def known() -> Iterator[dict[str, dict[str, Any]]]:
    """Return the programs that a real supervisord creates from the shipped files."""
    here = Path(tempfile.mkdtemp(prefix="shipped-"))  # short: a unix socket's path has 107 bytes
    (here / "supervisord.conf").write_text(MAIN.format(here=here, shipped=SHIPPED))
    (here / "quiet.conf").write_text(QUIET)
    supervisord = subprocess.Popen(
        [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", here / "supervisord.conf"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:

        def serves() -> bool:
            assert supervisord.poll() is None, (here / "supervisord.log").read_text()
            return accepts(here / "s.sock")

        wait_until(serves, "supervisord to serve its socket")
        yield {program["name"]: program for program in ask(here / "s.sock", "getAllConfigInfo")}
    finally:
        supervisord.send_signal(signal.SIGTERM)
        try:
            supervisord.wait(30)
        finally:
            supervisord.kill()
            shutil.rmtree(here)


def ask(path: Path, method: str) -> Any:  # noqa: ANN401 - what XML-RPC gives
    transport = SupervisorTransport(None, None, f"unix://{path}")
    try:
        return getattr(ServerProxy("http://127.0.0.1", transport).supervisor, method)()
    finally:
        transport.close()


def test_supervisord_reads_them(known: dict[str, dict[str, Any]]) -> None:
    """It finds one event listener and one program, and ignores our sections with their `%`."""
    assert sorted(known) == ["fpm-listener", "php-fpm"]


def test_here_in_an_included_file(known: dict[str, dict[str, Any]]) -> None:
    """`%(here)s` is the folder of the included file, not of supervisord.conf."""
    command = shlex.split(known["fpm-listener"]["command"])

    assert command == ["fpm-listener", "listen", "--config", str(OURS)]


def test_options_of_the_listener(known: dict[str, dict[str, Any]]) -> None:
    """supervisord never gives up on it, and starts it before programs with the default priority."""
    listener = known["fpm-listener"]

    assert listener["group_prio"] == -50
    assert listener["startretries"] >= 1000
    assert sections(OURS)[LISTENER_SECTION]["buffer_size"] == "1024"
    assert sections(OURS)[LISTENER_SECTION]["autorestart"] == "true"
    assert not listener["redirect_stderr"]
    assert listener["stdout_logfile"] == "none"


def test_options_of_php_fpm(known: dict[str, dict[str, Any]]) -> None:
    """It runs in the foreground without a shell; its failures count; a stop has enough time."""
    fpm = known["php-fpm"]
    command = shlex.split(fpm["command"])
    grace = re.search(r"process_control_timeout = (\S+)", PHP_FPM.read_text())

    guard, php_fpm = command[: command.index("--")], command[command.index("--") + 1 :]

    assert guard == ["fpm-listener", "guard", "--hold", "--config", str(OURS)]
    assert parse(command[2:]).wait_s <= fpm["startsecs"] - 1
    assert Path(php_fpm[0]).is_absolute()
    assert "-F" in php_fpm
    assert fpm["startsecs"] >= 2
    assert fpm["exitcodes"] == [0]
    assert fpm["stopsignal"] == signal.SIGQUIT
    assert grace
    assert fpm["stopwaitsecs"] >= durations.parse(grace[1]) + 5
    assert fpm["killasgroup"]
    assert sections(PHP_FPM)["program:php-fpm"]["stopasgroup"] == "false"
    assert fpm["stderr_events_enabled"]
    assert not fpm["redirect_stderr"]
    assert fpm["stdout_logfile_maxbytes"] > 0
    assert fpm["stderr_logfile_maxbytes"] > 0
    assert fpm["stderr_logfile_backups"] > 0
    assert sections(PHP_FPM)["program:php-fpm"]["autorestart"] == "true"


@pytest.mark.parametrize("path", [OURS, PHP_FPM], ids=lambda path: path.name)
def test_ascii_without_comments_behind_values(path: Path) -> None:
    """supervisor cuts a value at ` ;` and ` #`."""
    for line in path.read_text(encoding="ascii").splitlines():
        assert line.startswith(";") or not re.search(r"\s[;#]", line), line
        assert len(line) <= 100 or line.startswith("command="), line


def test_defaults_of_the_listener(tmp_path: Path) -> None:
    """With all commented lines active, the settings equal those of an empty file."""
    shown = sections(OURS, uncomment=True)[SECTION]
    empty, all_live = tmp_path / "empty.conf", tmp_path / "live.conf"
    empty.write_text("")
    all_live.write_text("".join([f"[{SECTION}]\n", *(f"{k} = {v}\n" for k, v in shown.items())]))

    assert sorted(shown) == sorted(GENERAL_KEYS)
    assert without_source(load(str(all_live), {})) == without_source(load(str(empty), {}))


def without_source(settings: Settings) -> Settings:
    return replace(settings, source="")


def test_defaults_of_a_receiver(tmp_path: Path) -> None:
    """The example is complete; except for url_file, it has the default values."""
    shown = sections(OURS, uncomment=True)[f"{RECEIVER_PREFIX}ops"]
    live = tmp_path / "live.conf"
    live.write_text(
        "".join([f"[{RECEIVER_PREFIX}ops]\n", *(f"{k} = {v}\n" for k, v in shown.items())]),
    )
    (receiver,) = load(str(live), {}).receivers

    assert sorted(shown) == sorted(keys(KINDS["webhook"]))
    assert receiver.url_file == Path("/etc/fpm-listener/ops.url")
    assert receiver == ReceiverSettings(name="ops", url_file=receiver.url_file)


def test_no_setting_is_active() -> None:
    """Every setting is a comment, so a new default applies to users who keep the file."""
    assert sections(OURS)[SECTION] == {}
    assert not load(str(OURS), {}).receivers


def test_snippet_on_the_terminal() -> None:
    """The lines that `fpm-listener listen` prints are those of the shipped file."""
    text = "\n".join(line[4:] for line in SNIPPET.splitlines() if line.startswith("    "))
    parser = RawConfigParser()
    parser.read_string(text)
    shipped = sections(OURS, uncomment=True)

    for name in parser.sections():
        for key, value in parser.items(name):
            assert shipped[name][key] == value


def test_page_of_receivers() -> None:
    """Its table has each type with its keys, rates and batch size; every setting is on the page."""
    page = (ROOT / "docs" / "receivers.md").read_text()
    rows = re.findall(
        r"^\| (`[a-z_`, ]+`) \| (.+?) \| (.*?) \| .+? \| (.+?) \| (.+?) \|$", page, re.MULTILINE
    )
    found = {name: row for row in rows for name in re.findall(r"`(\w+)`", row[0])}

    assert set(KINDS) <= set(found)
    for name, kind in KINDS.items():
        _, needs, takes, rates, joins = found[name]
        assert all(f"`{key}`" in needs for need in kind.needs for key in need.split("|")), name
        shown = ", ".join(f"{r.messages} in {durations.show(r.window_s)}" for r in kind.rates)
        assert rates == (shown or "none"), name
        assert joins == ("no" if kind.batch == 1 else str(kind.batch)), name
        general = {"ca_file", "cert_file", "key_file", "proxy", "trust_env"}
        assert all(f"`{key}`" in takes for key in kind.takes if key not in general), name
    assert [key for key in KEYS if f"`{key}`" not in page] == []
