"""`check PATH…`: the configurations of a repository, without the machine that they are for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fpm_listener import regular_file
from fpm_listener.doctor import report
from fpm_listener.doctor.check_paths import check_paths
from fpm_listener.host.file_tree import FileTree
from fpm_listener.supervisor.config import ConfUnreadable
from fpm_listener.supervisor.parser_child import ParserChild
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fpm_listener.doctor.check import CheckResult

MAIN = """\
[supervisord]
nodaemon=true
user=www-data
[program:php-fpm]
command=/usr/local/sbin/php-fpm -F
directory=/no/such/directory
numprocs=%(ENV_COUNT)s
process_name=%(process_num)s
stdout_logfile=/no/such/directory/out.log
[include]
files = conf.d/*.conf /etc/supervisor/conf.d/*.conf
"""
WORKER = "[program:worker]\ncommand=sh -c 'sleep 1'\nstopwaitsec=3\n"
REPOSITORY = {
    ".git/HEAD": "ref: a\n",
    "vendor/a.conf": "[program:no]\ncommand=a\nstopwaitsec=3\n",
    "docker/supervisord.conf": MAIN,
    "docker/conf.d/worker.conf": WORKER,
    "docker/other/alone.ini": "[program:alone]\ncommand=cat\nstopwaitsec=3\n",
    "docker/other/group.ini": "[group:all]\nprograms=elsewhere\n[program:b]\ncommand=cat\na=1\n",
    "docker/zz-docker.conf": "[global]\ndaemonize = no\n[www]\nlisten = 9000\n",
    "docker/pool.conf": "[shop]\nuser = shop\nlisten = 9001\npm = static\npm.max_childs = 2\n",
    "docker/template.conf.j2": "[program:{{ name }}]\ncommand=a\n",
    "docker/env.conf": "[supervisord]\nuser=${APP_USER}\nloglevel=${LEVEL}\n",
    "docker/latin.conf": "[program:latin]\ncommand=caf\xe9\n",
    "node_modules/a/supervisord.conf": "[supervisord]\nnonsense=1\n",
    "nginx.conf": "user nginx;\nhttp { server { listen 80; } }\n",
    "php.ini": "[PHP]\nerror_log = /dev/stderr\nmemory_limit = 1G\n[opcache]\nopcache.enable=1\n",
    "my.cnf": "[mysqld]\nuser = mysql\npid-file = /run/a.pid\n",
    "smb.conf": "[global]\nworkgroup = A\ninclude = /a\n[homes]\nuser = a\npath = /b\n",
    "setup.cfg": "[metadata]\nname = a\n[tool:pytest]\naddopts = -q\n",
    "uwsgi.ini": "[uwsgi]\nlisten = 100\nuser = a\nprocesses = 4\n",
}


def write(folder: Path, files: Mapping[str, str]) -> Path:
    """Write files into a folder, and return it."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="latin-1")
    return folder


def found(result: CheckResult, folder: Path, *, rules: str = "") -> set[tuple[str, str]]:
    """Return the rules and places of findings; rules: only these."""
    return {
        (one.id, f"{one.file.removeprefix(f'{folder}/')} [{one.section}]")
        for one in result.findings
        if not rules or one.id in rules
    }


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository with many files."""
    folder = write(tmp_path_factory.mktemp("repository"), REPOSITORY)
    (folder / "docker" / "loop").symlink_to(folder)
    (folder / "docker" / "passwd.conf").symlink_to("/etc/passwd")
    (folder / "docker" / "again.conf").symlink_to("conf.d/worker.conf")
    (folder / "docker" / "gone.conf").symlink_to("nowhere.conf")
    return folder


@pytest.fixture(scope="module")
def result(repository: Path) -> CheckResult:
    """Return the result for the repository."""
    return check_paths([str(repository)], is_offline=True)


def test_each_configuration_of_a_repository(repository: Path, result: CheckResult) -> None:
    """Each file is reported once: as a part of its main file, as programs, or as a pool."""
    assert found(result, repository, rules="FPM112 FPM080") == {
        ("FPM112", "docker/conf.d/worker.conf [program:worker]"),
        ("FPM112", "docker/other/alone.ini [program:alone]"),
        ("FPM112", "docker/other/group.ini [program:b]"),
        ("FPM080", "docker/pool.conf [shop]"),
    }
    assert found(result, repository, rules="FPM111") == {("FPM111", "docker/latin.conf []")}
    assert {one.id for one in result.findings if "zz-docker" in one.file} <= {"FPM047"}


def test_what_only_the_machine_knows(result: CheckResult) -> None:
    """Users, directories, programs and variables make no finding."""
    absent = {"FPM023", "FPM030", "FPM033", "FPM049", "FPM063", "FPM067", "FPM068"}
    assert not {one.id for one in result.findings} & {*absent, "FPM113", "FPM016"}


def test_notes(repository: Path, result: CheckResult) -> None:
    """What was not checked is a note with its reason."""
    notes = {note.removeprefix(f"{repository}/docker/") for note in result.notes}

    template = "it is a template ({{ … }} of Jinja or a similar language)"
    rejects = "supervisord may reject it, because ${APP_USER} is unknown"
    assert notes == {
        "supervisord.conf: not in these files, so not checked: /etc/supervisor/conf.d/*.conf",
        "other/group.ini: a [group:x] names programs of a file that is not here",
        f"template.conf.j2: not checked: {template}. Check the file that is made of it",
        f"passwd.conf: not checked: it is a link that leads out of {repository}",
        "gone.conf: not checked: it is a link to a file that does not exist",
        f"env.conf: checked in part: {rejects}. Check the file with its values, too",
    }
    assert result.mode.startswith("checked 8 files without this machine (offline)")


def test_an_included_file_that_is_not_utf_8(tmp_path: Path) -> None:
    """supervisord rejects the whole configuration; the error is at the line, and only there."""
    main = {"a.conf": "[supervisord]\n[include]\nfiles = b.conf\n"}
    folder = write(tmp_path, {**main, "b.conf": "[program:b]\ncommand=a\n; caf\xe9\n"})

    (one,) = check_paths([str(folder)], is_offline=True).findings

    assert (one.id, one.file, one.line) == ("FPM111", str(folder / "b.conf"), 3)
    assert "not UTF-8" in one.what


def test_paths_without_a_configuration(repository: Path) -> None:
    """They are an error that says what to name."""
    for path, why in {
        "nginx.conf": "by its content it is not a configuration",
        ".git": "no configuration of supervisord or php-fpm is there",
        "*.nothing": "no file matches this pattern",
        "absent.conf": "there is no such file",
    }.items():
        with pytest.raises(FpmListenerError, match=why):
            check_paths([str(repository / path)])


def test_byte_order_mark_of_an_included_file(tmp_path: Path) -> None:
    """The finding names that file; as the only file it has a note."""
    (tmp_path / "supervisord.conf").write_text("[supervisord]\n[include]\nfiles=a.conf\n")
    (tmp_path / "a.conf").write_text("\ufeff[program:x]\ncommand=a\n")
    result = check_paths([str(tmp_path / "supervisord.conf")])

    (one,) = (one for one in result.findings if one.id == "FPM111")
    assert f": {tmp_path}/a.conf begins with a byte order mark" in one.what
    assert one.fix.endswith(f" {tmp_path}/a.conf")
    (note,) = check_paths([str(tmp_path / "a.conf")]).notes
    assert "byte order mark" in note


def test_newline_in_a_name(tmp_path: Path) -> None:
    """A name of a file cannot look like another finding."""
    (tmp_path / "a\nERROR FPM999.conf").write_text("[program:x]\ncommand=a\nnonsense=1\n")
    text = report.to_text(check_paths([str(tmp_path)]).findings)

    assert "a?ERROR FPM999.conf" in text
    assert "\nERROR" not in text


def test_null_byte_and_the_top_of_this_machine(tmp_path: Path) -> None:
    """A path with it is nowhere; the top contains everything."""
    tree = FileTree(str(tmp_path))
    with pytest.raises(FileNotFoundError):
        tree.read("/a\0b/c")
    assert FileTree("/").has("/")


# -- an unpacked image -----------------------------------------------------------------------------

IMAGE = {
    "etc/passwd": "root:x:0:0::/:/bin/sh\napp:x:1000:1000::/:/bin/sh\n",
    "etc/group": "root:x:0:\napp:x:1000:\n",
    "etc/supervisor/supervisord.conf": "[supervisord]\nnodaemon=true\nlogfile=/dev/stdout\n"
    "logfile_maxbytes=0\n[include]\nfiles=/etc/supervisor/conf.d/*.conf\n",
    "etc/real/app.conf": "[program:php-fpm]\ncommand=php-fpm -F\nuser=app\n"
    "[program:www]\ncommand=/usr/bin/env a\nuser=www-data\n",
    "etc/php/8.2/fpm/php-fpm.conf": "[global]\nerror_log = /var/log/fpm.log\n[www]\n"
    "listen = 9000\npm = static\npm.max_childs = 2\n",
    "usr/sbin/php-fpm8.2": "#!/bin/sh\n",
    "bin/sh": "",
}


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Return an image with absolute links, as distributions have them."""
    folder = write(tmp_path / "root", IMAGE)
    for program in ("bin/sh", "usr/sbin/php-fpm8.2"):
        (folder / program).chmod(0o755)
    (folder / "var" / "log").mkdir(parents=True)
    (folder / "etc" / "alternatives").mkdir()
    (folder / "etc" / "supervisor" / "conf.d").symlink_to("/etc/real")
    (folder / "usr" / "sbin" / "php-fpm").symlink_to("/etc/alternatives/php-fpm")
    (folder / "etc" / "alternatives" / "php-fpm").symlink_to("/usr/sbin/php-fpm8.2")
    return folder


def test_unpacked_image(image: Path) -> None:
    """Links begin at the root, and users are those of the image."""
    result = check_paths([], root=str(image))
    what = {(one.id, one.file): one.what for one in result.findings}

    assert "www-data" in what["FPM033", "/etc/supervisor/conf.d/app.conf"]
    assert "app (1000) may not write" in what["FPM034", "/etc/php/8.2/fpm/php-fpm.conf"]
    assert "pm.max_childs" in what["FPM080", "/etc/php/8.2/fpm/php-fpm.conf"]
    assert {one.id for one in result.findings}.isdisjoint({"FPM113", "FPM068", "FPM048"})
    assert result.mode == f"checked 3 files below {image}, with the users of that directory"


def test_image_without_the_file_of_a_command(image: Path) -> None:
    """The place is the command: the other file does not exist. php-fpm exits with 78."""
    program = "[program:php-fpm]\ncommand=php-fpm -F -y /usr/local/etc/none.conf\n"
    (image / "etc" / "real" / "app.conf").write_text(program)
    result = check_paths([], root=str(image))

    assert found(result, image, rules="FPM068") == {
        ("FPM068", "/etc/supervisor/conf.d/app.conf [program:php-fpm]")
    }


@pytest.mark.parametrize("path", ["/etc/real", "etc/real/app.conf", "{image}/etc/real/*.conf"])
def test_path_in_an_image(image: Path, path: str) -> None:
    """It belongs to the image, with or without the directory in front of it."""
    result = check_paths([path.format(image=image)], root=str(image))

    assert {one.file for one in result.findings} >= {"/etc/real/app.conf"}


def test_links_out_of_an_image(image: Path, tmp_path: Path) -> None:
    """Nothing outside is read: not with dots, with a link, or with a loop."""
    outside = tmp_path / "outside.conf"
    outside.write_text("[program:secret]\ncommand=a\nnonsense=1\n")
    tree = FileTree(str(image), is_image=True)
    (image / "etc" / "dots.conf").symlink_to("../../../../outside.conf")
    (image / "etc" / "whole.conf").symlink_to(str(outside))
    (image / "etc" / "loop.conf").symlink_to("loop.conf")
    for name in ("dots.conf", "whole.conf", "loop.conf"):
        with pytest.raises(OSError, match=r"No such file|levels of symbolic links"):
            tree.read(f"/etc/{name}")
    assert tree.glob("/../outside.conf") == []
    with pytest.raises(FpmListenerError, match=r"there is no such file below"):
        check_paths([str(outside)], root=str(image))


def test_link_that_changes_while_it_is_read(repository: Path, tmp_path: Path) -> None:
    """The kernel says where the opened file is."""
    outside = tmp_path / "outside.conf"
    outside.write_text("[supervisord]\n")
    link = tmp_path / "link.conf"
    link.symlink_to(outside)
    with pytest.raises(OSError, match="is not below"):
        regular_file.read(link, below=f"{repository}/")


# -- limits ----------------------------------------------------------------------------------------


def test_files_that_are_too_much_for_the_parser(tmp_path: Path) -> None:
    """Each is a note, and the next file is checked."""
    big = "[program:a]\ncommand=b\nnumprocs=1000000000\nprocess_name=%(process_num)d\n"
    write(tmp_path, {"a/big.conf": big, "b/supervisord.conf": f"{MAIN}nonsense=1\n"})
    (tmp_path / "c.conf").write_bytes(b"[program:x]\n" + b"# a\n" * 400_000)
    result = check_paths([str(tmp_path)], is_offline=True)

    assert ("FPM112", "b/supervisord.conf [include]") in found(result, tmp_path)
    assert any("numprocs = 1000000000 are more than 5000" in note for note in result.notes)
    assert any("c.conf: not checked: is longer than" in note for note in result.notes)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"[program:a]\ncommand={'b' * 20_000}\n", "line 2 has more than 16384 characters"),
        ("[program:a]\n" + "b=c\n" * 20_000, "it has more than 20000 lines"),
        ("[program:a]\n" * 1001, "it has more than 1000 sections"),
        ("[program:a]\ncommand=b\n" + " c\n" * 1000, "a value has more than 1000 lines"),
    ],
    ids=["line", "lines", "sections", "value"],
)
def test_file_that_would_take_minutes(tmp_path: Path, text: str, why: str) -> None:
    """It is a note with the limit."""
    write(tmp_path, {"huge.conf": text})

    with pytest.raises(FpmListenerError, match=why):
        check_paths([str(tmp_path)], is_offline=True)


def test_parse_that_takes_too_long(tmp_path: Path) -> None:
    """Its child is killed, and the next file gets a new one."""
    tree = FileTree(str(tmp_path))
    with ParserChild(longest_s=0) as child:
        for name in ("a.conf", "b.conf"):
            answer = child.read(f"{tmp_path}/{name}", "[supervisord]\n", tree)

            assert isinstance(answer, ConfUnreadable)
            assert "more than 0 s" in answer.why
