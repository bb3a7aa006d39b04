"""The password of supervisord's http server is found in its configuration."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fpm_listener.supervisor import server_login
from fpm_listener.supervisor.server_login import Login
from tests.waiting import wait_until

CONF = """\
[supervisord]
[include]
files = conf.d/*.ini
[unix_http_server]
file = %(here)s/s.sock   ; the socket
username = admin
password = %(ENV_RPC_PASSWORD)s;no # a comment
[inet_http_server]
port = *:9001
username = web
password = p:w%%d
"""
ENVIRONMENT = {"RPC_PASSWORD": "s3cret"}


def write(folder: Path, text: str = CONF) -> str:
    path = folder / "supervisord.conf"
    path.write_text(text)
    return str(path)


def login(url: str, path: str, environment: dict[str, str] = ENVIRONMENT) -> object:
    """Return user name and password, or why there are none."""
    found = server_login.find(url, path, environment)
    return (found.name, found.password) if isinstance(found, Login) else found


def test_each_server_has_its_own(tmp_path: Path) -> None:
    """Values are expanded, and comments end them, as supervisor does it."""
    path = write(tmp_path)
    assert login(f"unix://{tmp_path}/s.sock", path) == ("admin", "s3cret;no")
    assert login(f"unix://{tmp_path}/./s.sock", path) == ("admin", "s3cret;no")
    for host in ("127.0.0.1", "localhost", "LOCALHOST", "[::1]"):
        assert login(f"http://{host}:9001", path) == ("web", "p:w%d")


def test_a_server_of_an_included_file(tmp_path: Path) -> None:
    """With a name, too."""
    path = write(tmp_path)
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "a.ini").write_text(
        "[inet_http_server:second]\nport=10.0.0.1:9002\nusername=a\npassword=b\n"
    )
    assert login("http://10.0.0.1:9002", path) == ("a", "b")


@pytest.mark.parametrize(
    ("url", "old", "new", "why"),
    [
        ("unix:///other.sock", "", "", "has no server with this address"),
        ("http://10.0.0.1:9001", "", "", "has no server with this address"),
        ("http://127.0.0.1:900²", "", "", "has no server with this address"),
        ("http://localhost:9001", "p:w%%d", "{SHA}82ab876d", "contains only the hash"),
        ("http://localhost:9001", "p:w%%d", "", "has no password"),
        ("http://localhost:9001", "p:w%%d", "%(ENV_OTHER)s", "a variable that is not set here"),
        ("http://localhost:9001", "p:w%%d", "50%", "a variable that is not set here"),
    ],
)
def test_no_login(url: str, old: str, new: str, why: str, tmp_path: Path) -> None:
    """The reason names the file and the section, and no value."""
    path = write(tmp_path, CONF.replace(old, new) if old else CONF)
    found = login(url, path)
    assert isinstance(found, str)
    assert path in found
    assert why in found
    assert "82ab" not in found


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """The reason is that of the system."""
    assert login("unix:///s", f"{tmp_path}/no") == f"{tmp_path}/no cannot be read: {os.strerror(2)}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user(tmp_path: Path) -> None:
    """It counts only if supervisord runs as this user."""
    path = write(tmp_path)
    os.chown(path, 65534, 65534)
    assert "belongs to another user" in str(login(f"unix://{tmp_path}/s.sock", path))
    own = server_login.find(f"unix://{tmp_path}/s.sock", path, ENVIRONMENT, owner=65534)
    assert isinstance(own, Login)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_server_that_another_user_names(tmp_path: Path) -> None:
    """A file of root, included by another user, gives its password to no server of this user."""
    secret = tmp_path / "secret.conf"
    secret.write_text("[inet_http_server]\nport=127.0.0.1:9001\nusername=a\npassword=b\n")
    path = write(tmp_path, f"[include]\nfiles={secret}\n")
    assert login("http://127.0.0.1:9001", path) == ("a", "b")
    os.chown(path, 65534, 65534)
    assert login("http://127.0.0.1:9001", path) == f"{path} belongs to another user"


def test_a_login_is_not_printed() -> None:
    """Not even by accident."""
    assert "s3cret" not in repr(Login("admin", "s3cret"))


def test_the_configuration_of_a_process(tmp_path: Path) -> None:
    """Its command line names the file."""
    path = write(tmp_path)
    script = tmp_path / "supervisord"
    script.write_text("import time; time.sleep(60)\n")
    command = [sys.executable, str(script), "-c", path]
    with subprocess.Popen(command) as child:
        of_child = server_login.of_running(child.pid, ENVIRONMENT)
        url = f"unix://{tmp_path}/s.sock"
        try:
            wait_until(lambda: isinstance(of_child(url), Login), "the command line")
        finally:
            child.kill()
    assert server_login.of_running(None, ENVIRONMENT)(url) == (
        "supervisord's configuration file was not found"
    )
