"""Failed starts whose log line or output shows the cause, and what their alerts say."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.case_lab import CaseLab, running_case_lab
from tests.e2e.lab import php_fpm

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
        (folder / "php-fpm.conf").chmod(0o600)
        lab.add_case("L05")
        two_pools(lab)
        root_pool(lab)
        ram.mkdir()
        subprocess.run(["mount", "-t", "ramfs", "ramfs", ram], check=True)
        try:
            lab.start()
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


def root_pool(lab: CaseLab) -> None:
    """Add a php-fpm whose workers would run as root."""
    fpm(lab, "root", "user = root\nlisten = 127.0.0.1:9072")


def evidence(alert: dict[str, Any]) -> str:
    """Return the evidence of an alert."""
    return str(alert["annotations"]["evidence"])


def remedy(alert: dict[str, Any]) -> str:
    """Return the remedy of an alert."""
    return str(alert["annotations"]["remedy"])


def test_a_socket_on_a_file_system_without_acls(lab: CaseLab) -> None:
    """listen.acl_users needs a file system with access control lists; the disk is not full."""
    alert = lab.alert("L01", cause="config_error")

    assert "failed to read the ACL of the socket" in evidence(alert)
    assert "Operation not supported (95)" in evidence(alert)
    assert "listen.owner, listen.group and listen.mode" in remedy(alert)
    assert not [one for one in lab.webhook.alerts("", "L01") if "disk" in str(one)]


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
    assert path in remedy(alert)


def test_two_pools_with_one_address(lab: CaseLab) -> None:
    """Both pools and their files are named."""
    alert = lab.alert("two", cause="config_error")

    for index in (0, 1):
        assert f"lab{lab.web_port}two{index} ({lab.folder}/two/{index}.pool:" in str(alert)


def test_workers_that_would_run_as_root(lab: CaseLab) -> None:
    """php-fpm refuses that without -R."""
    alert = lab.alert("root", cause="config_error")

    assert "please specify user and group other than root" in evidence(alert)
    assert "-R" in remedy(alert)
