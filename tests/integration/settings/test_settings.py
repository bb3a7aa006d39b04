"""The settings file, and what it says when something in it is wrong."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from fpm_listener.settings.policy import NEVER, LoopPolicy
from fpm_listener.settings.settings import Settings, load
from fpm_listener.values import FpmListenerError

Writer = Callable[..., Settings]


@pytest.fixture
def read(tmp_path: Path) -> Writer:
    """Return a function that writes a settings file and reads it."""

    def reader(text: str, **environ: str) -> Settings:
        path = tmp_path / "fpm_listener.conf"
        path.write_text(text, encoding="utf-8")
        return load(str(path), environ)

    return reader


def test_an_empty_file_has_all_defaults(read: Writer) -> None:
    """Nothing needs to be set."""
    settings = read("")

    assert (settings.web.host, settings.web.port) == ("127.0.0.1", 19253)
    assert settings.loop == LoopPolicy(threshold=3, window_s=60.0)
    assert settings.exit_loop == LoopPolicy(threshold=10, window_s=60.0)
    assert settings.receivers == ()
    assert settings.instance


def test_it_shares_its_file_with_supervisor(read: Writer) -> None:
    """Sections of supervisor are left alone; comments and blanks are read as supervisor does."""
    settings = read(
        "[eventlistener:fpm-listener]\ncommand=fpm-listener listen --config %(here)s/x.conf\n"
        "[fpm-listener]\nlisten = [::1]:9999   ; metrics\nloop = 4 in 90s # fast\n"
        "exit_loop = off\n"
        "programs = web:* php-fpm:php-fpm, cron:*\n"
        "[fpm-listener:receiver:ops]\nurl = http://127.0.0.1/%2Fx?a=b;c\nsend_resolved = no\n",
    )

    assert (settings.web.host, settings.web.port) == ("::1", 9999)
    assert settings.loop == LoopPolicy(threshold=4, window_s=90.0)
    assert settings.exit_loop == NEVER
    assert settings.programs == ("web:*", "php-fpm:php-fpm", "cron:*")
    (ops,) = settings.receivers
    assert (ops.name, ops.url, ops.send_resolved) == ("ops", "http://127.0.0.1/%2Fx?a=b;c", False)


def test_the_environment_wins(read: Writer) -> None:
    """Every setting can come from the environment, a whole receiver too."""
    settings = read(
        "[fpm-listener]\nlisten=127.0.0.1:1\n[fpm-listener:receiver:on-call]\nurl=http://a/\n",
        FPM_LISTENER_LISTEN=":2",
        FPM_LISTENER_STABLE_FOR="5s",
        FPM_LISTENER_RECEIVER_ON_CALL_SEND_RESOLVED="false",
        FPM_LISTENER_RECEIVER_OPS_URL_FILE="/run/secrets/ops",
    )

    assert (settings.web.port, settings.stable_for_s) == (2, 5.0)
    assert [r.name for r in settings.receivers] == ["on-call", "ops"]
    assert not settings.receivers[0].send_resolved
    assert settings.receivers[1].url_file == Path("/run/secrets/ops")


def test_variables_that_fit_nothing_are_only_warned_of(read: Writer) -> None:
    """Kubernetes sets FPM_LISTENER_PORT beside a service of that name; that must not stop us."""
    settings = read("", FPM_LISTENER_PORT="tcp://10.0.0.1:19253", FPM_LISTENER_SERVICE_HOST="x")

    assert len(settings.warnings) == 2


def test_relative_files_lie_beside_the_settings(read: Writer, tmp_path: Path) -> None:
    """A relative path does not depend on where supervisord was started."""
    settings = read("[fpm-listener]\nstate_dir = state\ntextfile = /var/x.prom\n")

    assert settings.state_dir == tmp_path / "state"
    assert settings.textfile == Path("/var/x.prom")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[fpm-listener]\nlissten=x\n", ["[fpm-listener]", "'lissten'", "did you mean 'listen'?"]),
        ("[fpm-listener]\nzzz=x\n", ["'zzz'", "known: listen"]),
        ("[fpm-listener]\nlisten=9000\n", ["listen = '9000'", "host:port"]),
        ("[fpm-listener]\nlisten=::1:9000\n", ["brackets"]),
        ("[fpm-listener]\nlisten=a:99999\n", ["host:port"]),
        ("[fpm-listener]\nloop=3\n", ["loop = '3'", "3 in 60s"]),
        ("[fpm-listener]\nloop=off\n", ["loop = 'off'", "3 in 60s"]),
        ("[fpm-listener]\nexit_loop=no\n", ["exit_loop = 'no'", "3 in 60s; or off"]),
        ("[fpm-listener]\nloop=1 in 60s\n", ["2 or more"]),
        ("[fpm-listener]\nloop=3 in soon\n", ["3 in 60s"]),
        ("[fpm-listener]\nstable_for=120\n", ["stable_for = '120'", "10s, 15m"]),
        ("[fpm-listener]\nstable_for=0s\n", ["above 0"]),
        ("[fpm-listener]\nmax_alerts=-1\n", ["whole number"]),
        ("[fpm-listener]\nlog_level=loud\n", ["debug, info"]),
        (
            "[fpm-listener]\nweb_cert_file=x\n",
            ["need each other; add web_key_file"],
        ),
        ("[fpm-listener]\nweb_username=x\n", ["need each other"]),
        ("[fpm-listener]\non_fatal=stop\n", ["on_fatal", "'stop'", "nothing", "shutdown"]),
        ("[fpm-listener]\nloop_delay=10\n", ["loop_delay", "'10'", "10s..5m"]),
        (
            "[fpm-listener]\non_fatal=shutdown\nrestart_fatal=1s..2s\n",
            ["restart_fatal", "on_fatal", "exclude each other"],
        ),
        (
            "[fpm-listener]\nexec_on=gave_up\n",
            ["need each other; add exec_command"],
        ),
        ("[fpm-listener]\nexec_on=x\nexec_command=/x\n", ["'x'", "out_of_memory", "gave_up"]),
        (
            (
                "[fpm-listener]\nexec_on=gave_up\nexec_command=/x\n"
                "[fpm-listener:receiver:exec_on]\nurl=http://a/\n"
            ),
            ["exec_on", "the name of receiver"],
        ),
        ("[fpm-listner]\nlisten=:1\n", ["unknown section; known: [fpm-listener]"]),
        ("[fpm-listener:reciever:x]\nurl=http://a/\n", ["unknown section"]),
        ("[fpm-listener:receiver:a b]\nurl=http://a/\n", ["letters, digits"]),
        ("[fpm-listener:receiver:x]\ntype=webhook\n", ["exactly one of url and url_file"]),
        ("[fpm-listener:receiver:x]\nurl=http://a/\nurl_file=f\n", ["exactly one of"]),
        ("[fpm-listener:receiver:x]\nurl=http://a/\ntype=pigeon\n", ["type = 'pigeon'", "webhook"]),
        ("[fpm-listener:receiver:x]\nurl=http://a/\nsend_resolved=maybe\n", ["true or false"]),
        ("[fpm-listener:receiver:x]\nurl=http://a/\ntimout=3s\n", ["did you mean 'timeout'?"]),
        ("[fpm-listener:receiver:x]\nurl=http://a/\ncert_file=c\n", ["cert_file and key_file"]),
        ("[fpm-listener:receiver:x]\nurl=http://a/\nusername=c\n", ["need each other"]),
        ("no section\n", ["not an INI file"]),
    ],
)
def test_errors_of_settings(read: Writer, text: str, words: list[str]) -> None:
    """An error names the file, the section, the key and what is allowed."""
    with pytest.raises(FpmListenerError) as caught:
        read(text)

    for word in ["fpm_listener.conf", *words]:
        assert word in str(caught.value)


def test_no_message_shows_a_url(read: Writer) -> None:
    """The URL of a webhook is a secret, also where it is wrong."""
    with pytest.raises(FpmListenerError) as caught:
        read("[fpm-listener:receiver:x]\nurl = hooks.example/T0KEN\n")
    assert "T0KEN" not in str(caught.value)

    assert "T0KEN" not in repr(read("[fpm-listener:receiver:x]\nurl = http://a/T0KEN\n"))


def test_a_missing_file(tmp_path: Path) -> None:
    """A file that is not there is told with its name and the reason."""
    with pytest.raises(FpmListenerError, match=r"nope.conf: cannot be read: No such file"):
        load(str(tmp_path / "nope.conf"), {})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"[fpm-listener]\nstate_dir\n  /var/lib\n", "a key without a value"),
        (b"[fpm-listener]\n  indented = 1\nloop\n\tx\n", "a key without a value"),
        (b"loop = 3 in 60s\n", "no section headers"),
        (b"[fpm-listener\n", "no section headers"),
        (b"[fpm-listener]\n= 3\n", "is not an INI file"),
        (b"[fpm-listener]\ninstance = caf\xe9\n", "line 2 is not UTF-8"),
        (b"\xff\xfe[\0", "line 1 is not UTF-8"),
        (b"; " + b"x" * (1 << 20), "is longer than 1048576 bytes"),
    ],
)
def test_a_file_that_cannot_be_parsed(tmp_path: Path, text: bytes, why: str) -> None:
    """Each is one sentence that names the file, and no other kind of error."""
    path = tmp_path / "fpm_listener.conf"
    path.write_bytes(text)

    with pytest.raises(FpmListenerError, match=f"^{path}: .*{re.escape(why)}") as caught:
        load(str(path), {})
    assert "\n" not in str(caught.value)


def test_what_is_no_file(tmp_path: Path) -> None:
    """A FIFO without a writer, a folder and an endless device are refused at once."""
    os.mkfifo(tmp_path / "fifo")
    for path, why in (
        (str(tmp_path / "fifo"), "is not a regular file"),
        (str(tmp_path), "is a directory"),
        ("/dev/zero", "is not a regular file"),
        (f"{tmp_path}/a\0b", "null"),
    ):
        with pytest.raises(FpmListenerError, match=why):
            load(path, {})
    assert load(os.devnull, {}).receivers == ()


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("", ""),
        ("listen = localhost:19253", ""),
        ("listen = 127.1.2.3:19253", ""),
        ("listen = [::1]:19253", ""),
        ("listen = :0", ""),
        ("listen = :19253\ninstance = localhost", ""),
        ("listen = :19253", "http://web1:19253/"),
        ("listen = 10.0.0.1:1\nweb_cert_file = a\nweb_key_file = b", "https://web1:1/"),
        ("external_url = https://fpm.example/x/", "https://fpm.example/x/"),
        ("listen = :1\nexternal_url = http://fpm.example", "http://fpm.example"),
    ],
)
def test_the_link_in_alerts(read: Writer, text: str, link: str) -> None:
    """None to an address that only this host can reach; else as the operator says, or a guess."""
    assert read(f"[fpm-listener]\ninstance = web1\n{text}\n").page_url == link


def test_the_hosts_of_the_page(read: Writer) -> None:
    """All names that the settings know of, as a browser writes them."""
    settings = read(
        "[fpm-listener]\ninstance = Web1\nlisten = fpm:1\nexternal_url = https://A.example:8443/x\n"
        "allowed_hosts = b.example, C.example.\n"
    )
    known = {"localhost", "web1", "fpm", "a.example", "b.example", "c.example"}
    assert settings.web.allowed_hosts == known


@pytest.mark.parametrize(
    "text",
    [
        "external_url = ftp://x",
        "external_url = https://u:s3cret@x/",
        "allowed_hosts = http://s3cret",
    ],
)
def test_what_is_no_name(read: Writer, text: str) -> None:
    """A password would be sent to every receiver."""
    with pytest.raises(FpmListenerError, match=r"is invalid; expected ") as caught:
        read(f"[fpm-listener]\n{text}\n")
    assert "external_url" not in text or "s3cret" not in str(caught.value)
