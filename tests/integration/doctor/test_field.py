"""Shapes of public repositories: what another file or the image can have is no finding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fpm_listener.doctor.check_paths import check_paths

if TYPE_CHECKING:
    from pathlib import Path

    from fpm_listener.doctor.check import CheckResult

POOL = "[www]\nlisten = 9000\npm = dynamic\npm.max_children = 5\npm.start_servers = 2\n"
SOCKET = "listen = /run/php-fpm.sock\n"
SPARE = "pm.min_spare_servers = 1\npm.max_spare_servers = 3\npm.max_requests = 500\n"
SILENT = "ping.path = /ping\nrequest_terminate_timeout = 60s\n"
MAIN = "[supervisord]\nnodaemon=true\n[program:php-fpm]\ncommand=php-fpm -F{more}\n"


def checked(folder: Path, **files: str) -> CheckResult:
    """Return what `check` finds in files; a name is a path with __ for / and _ for a dot."""
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return check_paths([str(folder)], is_offline=True)


def ids(result: CheckResult) -> list[str]:
    """Return the rules that found something."""
    return [one.id for one in result.findings]


@pytest.mark.parametrize(
    "text",
    [
        # Another container has the web server, and the signal that stops php-fpm is unknown.
        f"include = /usr/local/etc/php-fpm.d/*.conf\n{POOL}{SPARE}{SILENT}",
        # Another file has `listen`, as that of the official image.
        f"{POOL}{SPARE}".replace("listen = 9000\n", ""),
        # An entry script writes the file again with its variables.
        f"{POOL}{SPARE}{SILENT}".replace("= 2", "= $WORKERS").replace("= 1", "= ${SPARE}"),
        # The image starts as another user, and its docker.conf has catch_workers_output.
        f"{POOL}{SPARE}{SILENT}".replace("listen = 9000\n", SOCKET),
        # php-fpm adds these lines to the pool of the file before it (measured with 8.2).
        f"{SOCKET}listen.owner = nginx\npm.max_children = 9\nenv[A] = b\n",
    ],
)
def test_a_pool_without_its_image(text: str, tmp_path: Path) -> None:
    """Nothing is wrong in these files."""
    assert ids(checked(tmp_path, zz__www_conf=text)) == []


def test_mistakes_in_a_pool_without_its_image(tmp_path: Path) -> None:
    """What no other file can correct is found: a wrong name, an open socket, a lost output."""
    more = "listen.mode = 0666\ncatch_workers_output = no\npm.max_childs = 3\n"
    text = f"{POOL}{SPARE}{SILENT}{more}".replace("listen = 9000\n", SOCKET)
    found = checked(tmp_path, zz__www_conf=text)

    assert ids(found) == ["FPM080", "FPM045", "FPM056"]


def test_a_pool_of_a_known_program(tmp_path: Path) -> None:
    """A port for everybody is a warning: the network of the container decides."""
    command = MAIN.format(more=f" -y {tmp_path}/fpm.conf")
    global_ = "[global]\nprocess_control_timeout = 5s\n"
    found = checked(tmp_path, fpm_conf=f"{global_}{POOL}{SPARE}{SILENT}", supervisord_conf=command)
    (one,) = [one for one in found.findings if one.id == "FPM047"]

    assert one.severity.value == "warning"
    assert "in this container" in one.fix
    assert "FPM104" not in ids(found)


def test_a_main_file_that_another_file_includes(tmp_path: Path) -> None:
    """Debian's file has the socket of the server; the program is checked, and a note says it."""
    server = "[unix_http_server]\nusername = a\npassword = b\n"
    found = checked(tmp_path, supervisord_conf=server + MAIN.format(more="\nauto_start=true"))

    assert not {"FPM111", "FPM163"} & set(ids(found))
    (one,) = [one for one in found.findings if one.id == "FPM112"]
    assert "Write autostart instead" in one.fix
    assert any("[unix_http_server] has no file=" in note for note in found.notes)


def test_a_script_of_the_image(tmp_path: Path) -> None:
    """A script that is not here is a note; a typing error in php-fpm's name is a finding."""
    text = MAIN.format(more="").replace("php-fpm -F", "entrypoint.sh php-fpm")
    script = checked(tmp_path / "a", supervisord_conf=text)
    typing = checked(
        tmp_path / "b", supervisord_conf=MAIN.format(more="").replace("fpm -F", "fpm82-F")
    )

    assert "FPM027" not in ids(script)
    assert any("its script is not in these files" in note for note in script.notes)
    assert "FPM027" in ids(typing)


def test_a_path_below_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path of a pool is a path of the user, not of php-fpm."""
    (tmp_path / "zz").mkdir()
    (tmp_path / "zz" / "www.conf").write_text(f"{POOL}{SPARE}{SILENT}pm.max_childs = 1\n")
    monkeypatch.chdir(tmp_path)

    assert ids(check_paths(["zz"], is_offline=True)) == ["FPM080"]


@pytest.mark.parametrize(("priority", "found"), [("1000", False), ("10", True)])
def test_the_order_of_an_image_without_our_listener(
    priority: str, *, found: bool, tmp_path: Path
) -> None:
    """Only a wrong order is a finding: nothing in this image can wait for php-fpm."""
    nginx = f'[program:nginx]\ncommand=nginx -g "daemon off;"\npriority={priority}\n'
    result = checked(tmp_path, supervisord_conf=MAIN.format(more="") + nginx)
    fixes = [one.fix for one in result.findings if one.id == "FPM150"]

    assert fixes == (["Give php-fpm a priority below 10"] if found else [])


@pytest.mark.parametrize(
    ("events", "silent"),
    [
        ("PROCESS_STATE_FATAL,PROCESS_STATE_EXITED", {"FPM007", "FPM009"}),
        ("PROCESS_STATE_FATAL", {"FPM007"}),
        ("PROCESS_STATE", {"FPM007", "FPM009"}),
        ("PROCESS_LOG", set()),
    ],
)
def test_a_listener_that_ends_the_container(events: str, silent: set[str], tmp_path: Path) -> None:
    """The site does not stay down: the container ends, and starts again."""
    listener = f"[eventlistener:quit]\ncommand=/bin/quit.sh\nevents={events}\n"
    found = checked(tmp_path, supervisord_conf=MAIN.format(more="") + listener)

    assert {"FPM007", "FPM009"} - set(ids(found)) == silent


def test_a_server_without_its_interface(tmp_path: Path) -> None:
    """Debian's main file includes conf.d and has the interface; another file must have it."""
    text = "[inet_http_server]\nport = 127.0.0.1:9001\n" + MAIN.format(more="")

    assert "FPM163" not in ids(checked(tmp_path / "conf.d", main_conf=text))
    assert "FPM163" in ids(checked(tmp_path / "b", supervisord_conf=text))


def test_a_pool_as_root_without_its_command(tmp_path: Path) -> None:
    """The command may have -R, so this is no error; both ways somebody has to look at it."""
    found = checked(tmp_path, zz_conf=f"{POOL}{SPARE}{SILENT}user = root\ngroup = root\n")

    assert [(one.id, one.severity.value) for one in found.findings] == [("FPM050", "warning")]


def test_an_include_below_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Findings name the included file as the user can type it."""
    main = "[supervisord]\nnodaemon=true\n[include]\nfiles = conf.d/*.conf\n"
    checked(tmp_path, a__supervisord_conf=main)
    (tmp_path / "a" / "conf.d").mkdir()
    (tmp_path / "a" / "conf.d" / "x.conf").write_text("[program:php-fpm]\ncommand=php-fpm -F\n")
    monkeypatch.chdir(tmp_path)

    assert {one.file for one in check_paths(["a"], is_offline=True).findings} == {
        "a/supervisord.conf",
        "a/conf.d/x.conf",
    }
