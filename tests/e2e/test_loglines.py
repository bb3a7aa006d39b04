"""Failed starts whose log line or output shows the cause, and what their alerts say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.case_lab import CaseLab, running_case_lab
from tests.e2e.lab import php_fpm
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.xdist_group("loglines"),  # one process: they share a lab
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount and drop capabilities"),
]

#: setpriv takes this capability away, as a container does.
NO_PRIORITY = "setpriv --bounding-set -sys_nice --inh-caps -sys_nice"


@pytest.fixture(scope="module")
def lab() -> Iterator[CaseLab]:
    """Run all failures at once."""
    with running_case_lab() as lab:
        ram = lab.add_case("L01") / "ram"
        for case in ("L03", "L36"):
            folder = lab.add_case(case)
            section = lab.sections[f"program:{case}"]
            section["command"] = f"{NO_PRIORITY} {section['command']}"
        folder = lab.add_case("L32")
        folder.chmod(0o777)  # or www-data may not write the log either
        (folder / "php-fpm.conf").chmod(0o600)
        lab.add_case("L05")
        lab.add_case("L07")
        lab.add_case("L08")
        lab.add_case("L09")
        others(lab)
        two_pools(lab)
        root_pool(lab)
        rival_pools(lab)
        no_processes(lab)
        ram.mkdir()
        subprocess.run(["mount", "-t", "ramfs", "ramfs", ram], check=True)
        # They start when the listener knows them: of a run before that, only one line is known.
        for keys in lab.sections.values():
            keys["autostart"] = "false"
        try:
            lab.start()
            lab.start_programs()
            yield lab
        finally:
            subprocess.run(["umount", "--lazy", ram], check=True)


def fpm(lab: CaseLab, name: str, *pools: str) -> None:
    """Add a php-fpm with one file for each pool."""
    folder = lab.folder / name
    folder.mkdir()
    main = folder / "php-fpm.conf"
    main.write_text(f"[global]\nerror_log = {folder}/fpm.log\ninclude = {folder}/*.pool\n")
    for index, text in enumerate(pools):
        pool = f"lab{lab.web_port}{name}{index}"
        lab.pools.add(pool)
        (folder / f"{index}.pool").write_text(
            f"[{pool}]\n{text}\npm = static\npm.max_children = 1\n"
        )
    lab.program(name, f"{php_fpm()} -F -y {main}", autorestart="true")


def two_pools(lab: CaseLab) -> None:
    """Add a php-fpm with two pools on one address."""
    listen = "user = www-data\nlisten = 127.0.0.1:9071"
    fpm(lab, "two", listen, listen)


def others(lab: CaseLab) -> None:
    """Add programs that are no php-fpm, and cannot start."""
    script = lab.folder / "server.py"
    script.write_text("import socket, sys\nsocket.socket().bind(('127.0.0.1', int(sys.argv[2])))\n")
    # The listener itself uses this port.
    lab.program("python", f"{sys.executable} {script} --port {lab.web_port}", autorestart="true")
    node = f"echo 'Error: listen EADDRINUSE: address already in use 127.0.0.1:{lab.web_port}'"
    lab.program("node", f'sh -c "{node}; exit 1"', autorestart="true", redirect_stderr="true")
    lab.sections["program:node"] |= {"stdout_logfile": f"{lab.folder}/node.out"}
    lab.program("script", 'sh -c "nosuch-command"', autorestart="true")


def rival_pools(lab: CaseLab) -> None:
    """Add a php-fpm with two pools on one port, in two spellings."""
    port = free_port()
    user = "user = www-data\nlisten ="
    fpm(lab, "rivals", f"{user} 0.0.0.0:{port}", f"{user} 127.0.0.1:{port}")


def no_processes(lab: CaseLab) -> None:
    """Add a php-fpm whose user may not start a process."""
    fpm(lab, "processes", f"listen = 127.0.0.1:{free_port()}")
    section = lab.sections["program:processes"]
    section["command"] = f"bash -c 'ulimit -u 1; exec {section['command']}'"
    section["user"] = "www-data"
    (lab.folder / "processes").chmod(0o777)


def root_pool(lab: CaseLab) -> None:
    """Add a php-fpm whose workers would run as root."""
    fpm(lab, "root", "user = root\nlisten = 127.0.0.1:9072")


def evidence(alert: dict[str, Any]) -> str:
    """Return the evidence of an alert."""
    return str(alert["annotations"]["evidence"])


def summary(alert: dict[str, Any]) -> str:
    """Return the summary of an alert."""
    return str(alert["annotations"]["summary"])


def remedy(alert: dict[str, Any]) -> str:
    """Return the remedy of an alert."""
    return str(alert["annotations"]["remedy"])


def test_a_socket_on_a_file_system_without_acls(lab: CaseLab) -> None:
    """listen.acl_users needs a file system with access control lists; the disk is not full."""
    alert = lab.alert("L01", cause="config_error")

    assert "failed to read the ACL of the socket" in evidence(alert)
    assert "Operation not supported (95)" in evidence(alert)
    assert "listen.owner, listen.group and listen.mode" in remedy(alert)
    # An alert before this one may say that a full disk is ruled out.
    alerts = lab.webhook.alerts("", "L01")
    assert "disk_full" not in {one["annotations"]["cause"] for one in alerts}
    assert not [one for one in alerts if re.search(r"disk of \S+ (is|was) full", str(one))]


def test_php_fpm_may_not_set_its_priority(lab: CaseLab) -> None:
    """A container has no SYS_NICE."""
    alert = lab.alert("L03", cause="permission")

    assert "Unable to set priority for the master process: Permission denied (13)" in evidence(
        alert
    )
    assert "process.priority" in remedy(alert)
    assert "--cap-add SYS_NICE" in remedy(alert)


def test_a_mistake_in_php_ini_is_not_the_cause(lab: CaseLab) -> None:
    """php-fpm starts in spite of a syntax error in php.ini."""
    alert = lab.alert("L36", cause="permission")

    assert "Unable to set priority for the master process" in evidence(alert)
    causes = {one["annotations"]["cause"] for one in lab.webhook.alerts("firing", "L36")}
    assert "config_error" not in causes


def test_opcache_gets_no_shared_memory(lab: CaseLab) -> None:
    """PHP writes why to stderr; php-fpm has no log yet."""
    alert = lab.alert("L05", cause="out_of_memory")

    assert "Unable to allocate shared memory segment" in evidence(alert)
    assert "opcache.memory_consumption" in remedy(alert)


def test_the_configuration_is_not_readable(lab: CaseLab) -> None:
    """supervisord starts php-fpm as www-data, and the file is root's."""
    alert = lab.alert("L32", cause="permission")

    path = f"{lab.folder}/L32/php-fpm.conf"
    assert f"failed to open configuration file '{path}': Permission denied (13)" in evidence(alert)
    lab.shows("L32", "remedy", path)


def test_a_directive_that_php_8_does_not_have(lab: CaseLab) -> None:
    """PHP writes why to stdout, as HTML."""
    alert = lab.alert("L07", cause="config_error")

    assert "Directive 'track_errors' is no longer available in PHP" in evidence(alert)
    lab.shows("L07", "remedy", f"{lab.folder}/L07/php.ini")


def test_an_option_that_php_fpm_does_not_know(lab: CaseLab) -> None:
    """Exit status 64; the option is named."""
    alert = lab.alert("L08", cause="config_error")

    assert "php-fpm does not understand its options: --nodaemon" in summary(alert)
    assert "[program:L08]" in remedy(alert)


def test_nginx_cannot_bind(lab: CaseLab) -> None:
    """nginx names the address on stdout; nobody has it."""
    alert = lab.alert("L09", cause="bind_conflict")

    assert "bind() to 0.0.0.0:8080 failed (98: Address already in use)" in evidence(alert)
    assert "0.0.0.0:8080" in summary(alert)


def test_node_cannot_bind(lab: CaseLab) -> None:
    """The holder of the address is named: here it is the listener itself."""
    lab.alert("node", cause="bind_conflict")

    lab.shows("node", "summary", f"127.0.0.1:{lab.web_port} is in use by pid {lab.listener_pid()}")


def test_python_does_not_name_the_address(lab: CaseLab) -> None:
    """The command has the port, and a process listens there."""
    alert = lab.alert("python", cause="bind_conflict")

    assert "Address already in use" in evidence(alert)
    lab.shows("python", "summary", f"*:{lab.web_port} is in use by pid {lab.listener_pid()}")


def test_a_command_that_does_not_exist(lab: CaseLab) -> None:
    """A shell exits with 127."""
    alert = lab.alert("script", cause="missing_path")

    assert "nosuch-command" in summary(alert)
    assert "not found" in evidence(alert)


def test_two_pools_with_one_address(lab: CaseLab) -> None:
    """Both pools and their files are named."""
    lab.alert("two", cause="config_error")

    for index in (0, 1):
        lab.shows("two", "", f"lab{lab.web_port}two{index} ({lab.folder}/two/{index}.pool:")


def test_two_pools_that_want_one_port(lab: CaseLab) -> None:
    """php-fpm itself keeps the address from its second pool."""
    lab.alert("rivals", cause="bind_conflict")

    lab.shows("rivals", "summary", "by another pool of this php-fpm")
    for index in (0, 1):
        pool = f"lab{lab.web_port}rivals{index} ({lab.folder}/rivals/{index}.pool:"
        lab.shows("rivals", "", pool)


def test_a_limit_of_processes(lab: CaseLab) -> None:
    """php-fpm reports that it runs, cannot start its first worker, and exits with 0."""
    alert = lab.alert("processes", cause="process_limit")

    assert "fork() failed: Resource temporarily unavailable (11)" in evidence(alert)
    assert "limit of processes" in summary(alert)


def test_workers_that_would_run_as_root(lab: CaseLab) -> None:
    """php-fpm refuses that without -R."""
    alert = lab.alert("root", cause="config_error")

    assert "please specify user and group other than root" in evidence(alert)
    assert "-R" in remedy(alert)
