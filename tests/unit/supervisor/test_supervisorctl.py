"""The supervisorctl command that reaches a supervisord, from the text of its configuration."""

from __future__ import annotations

import shlex

import pytest

from fpm_listener.supervisor import ini_lines, supervisorctl
from fpm_listener.untrusted_text import quoted

RPC = "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = x\n"
UNIX = f"{RPC}[unix_http_server]\nfile=%(here)s/s.sock\n"
INET = f"{RPC}[inet_http_server]\nport=*:9001\n"
CLIENT = "[supervisorctl]\nserverurl=unix://%(here)s/s.sock\n"
MAIN = "/etc/my conf/x.conf"
HERE = {"here": "/etc/my conf"}
OTHER = ("/etc/supervisord.conf", "[supervisorctl]\n")


def command(text: str, default: tuple[str, str] | None = None) -> str | None:
    """Return the command for a main file with this text."""
    main = (MAIN, text)
    sections = ini_lines.scan([main])
    return supervisorctl.command(main, sections, HERE, default)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (UNIX + CLIENT, f"supervisorctl -c '{MAIN}'"),
        (UNIX, "supervisorctl -s 'unix:///etc/my conf/s.sock'"),
        (INET, "supervisorctl -s http://127.0.0.1:9001"),
        (f"{INET}[supervisorctl]\n", f"supervisorctl -c '{MAIN}'"),
        (f"{INET}[supervisorctl]\nserverurl=http://localhost:9001", f"supervisorctl -c '{MAIN}'"),
        (f"{INET}[supervisorctl]\nserverurl=http://localhost:9002", "supervisorctl -s http://127"),
        (f"{UNIX}[supervisorctl]\nserverurl=unix:///other.sock", "supervisorctl -s 'unix:///etc"),
        (f"{UNIX}password=x\n{CLIENT}", f"supervisorctl -c '{MAIN}' -u USER -p PASSWORD"),
        (f"{UNIX}password=x\n{CLIENT}password=x\n", f"supervisorctl -c '{MAIN}'"),
        (f"{RPC}{CLIENT}", None),
        (CLIENT + UNIX.removeprefix(RPC), None),
        (f"{RPC}[unix_http_server]\nfile=%(ENV_X)s/s.sock\n{CLIENT}", None),
        (f"{RPC}[inet_http_server]\nport=what", None),
    ],
)
def test_the_command(text: str, expected: str | None) -> None:
    """It has the options that it needs; None = supervisorctl cannot work."""
    found = command(text)

    assert (found or "").startswith(expected or "") if expected else found is None
    assert "password=x" not in (found or "")


def test_the_file_that_supervisorctl_reads_by_itself() -> None:
    """Its own file needs no option; without [supervisorctl] in it, not even -s works."""
    assert command(UNIX + CLIENT, (MAIN, UNIX + CLIENT)) == "supervisorctl"
    assert command(UNIX, (MAIN, UNIX)) is None
    assert command(UNIX, ("/etc/supervisord.conf", "[supervisord]\n")) is None
    assert command(UNIX, OTHER) == "supervisorctl -s 'unix:///etc/my conf/s.sock'"
    assert command(UNIX + CLIENT, OTHER) == f"supervisorctl -c '{MAIN}'"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("[program:fpm]\ncommand=/usr/sbin/php-fpm8.2 -F -y /etc/a.conf", "fpm"),
        ("[program:fpm]\ncommand=fpm-listener guard -- '/usr/sbin/php-fpm8.2' -F", "fpm"),
        ("[program:fpm]\ncommand=/start.sh", None),
        (
            (
                "[program:a]\ncommand=php-fpm8.2 -y /etc/a.conf\n"
                "[program:b]\ncommand=php-fpm8.2 -y /etc/b.conf"
            ),
            "a",
        ),
        ("[program:a]\ncommand=php-fpm8.2\n[program:b]\ncommand=php-fpm8.2", None),
        ("[program:a]\ncommand=php-fpm8.2\n[group:web]\nprograms=x, a", "web:a"),
        ("[program:a]\ncommand=php-fpm8.2\nnumprocs=2\nprocess_name=%(process_num)s", "a:*"),
        ("[program:a]\ncommand=%(ENV_NO)s php-fpm8.2", None),
        ("[supervisord]\ncommand=php-fpm8.2", None),
    ],
)
def test_the_name_of_a_program(text: str, name: str | None) -> None:
    """It is named only if one program fits."""
    sections = ini_lines.scan([("x", text)])
    found = supervisorctl.name_of_program(sections, {}, "php-fpm8.2", "/etc/a.conf")

    assert found == name


@pytest.mark.parametrize("word", ["", "a", "a b", "it's", "$(x)", "a;b", "/run/php-fpm.sock", "é"])
def test_quoted_words(word: str) -> None:
    """They are quoted as shlex quotes them."""
    assert quoted(word) == shlex.quote(word)
