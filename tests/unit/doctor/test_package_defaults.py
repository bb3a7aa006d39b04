"""Findings about unchanged defaults of packages are hints, and one line."""

from __future__ import annotations

import pytest

from fpm_listener.doctor import report
from fpm_listener.doctor.package_defaults import package_of
from fpm_listener.doctor.rule import Finding, FindingSeverity
from fpm_listener.doctor.rules import examine
from fpm_listener.supervisor import ini_lines
from tests.unit.doctor.checked_configs import TEXTS, checkup

DEBIAN = "/etc/php/8.2/fpm/pool.d/www.conf"
DOCKER = "/usr/local/etc/php-fpm.d/zz-docker.conf"


@pytest.mark.parametrize(
    ("file", "key", "written", "package"),
    [
        (DEBIAN, "pm.max_requests", None, "Debian's package"),
        (DEBIAN, "pm.max_children", "5", "Debian's package"),
        (DEBIAN, "pm.max_children", "6", ""),
        (DEBIAN, "pm.max_children", None, ""),
        (DEBIAN, "pm.max_requests", "0", ""),
        ("/etc/php/8.2/fpm/pool.d/shop.conf", "pm.max_requests", None, ""),
        (DOCKER, "listen", "9000", "the official Docker image"),
        (DOCKER, "listen", "9001", ""),
        (DOCKER, "decorate_workers_output", "no", "the official Docker image"),
        ("/etc/php/8.10/fpm/pool.d/www.conf", "listen.owner", "www-data", "Debian's package"),
        ("/etc/php83/php-fpm.d/www.conf", "listen", "127.0.0.1:9000", "Alpine's package"),
        ("/etc/php-fpm.d/www.conf", "pm.max_children", "50", "Red Hat's package"),
        ("/etc/opt/remi/php83/php-fpm.d/www.conf", "ping.path", None, "Remi's package"),
    ],
)
def test_a_pool(file: str, key: str, written: str | None, package: str) -> None:
    """A value is a default if the package has the same value, or does not set it either."""
    assert package_of(file, key, written, includes=False) == package


def test_a_main_file() -> None:
    """The main file of a package includes the pools; a file with pools is somebody else's."""
    for file in ("/etc/php/8.2/fpm/php-fpm.conf", "/etc/php-fpm.conf"):
        assert package_of(file, "emergency_restart_threshold", None, includes=True)
        assert not package_of(file, "emergency_restart_threshold", None, includes=False)


def test_the_include_of_the_docker_image() -> None:
    """It is relative to /usr/local, where this php-fpm looks."""
    main, include = "/usr/local/etc/php-fpm.conf", "etc/php-fpm.d/*.conf"

    assert package_of(main, "include", include, includes=True) == "the official Docker image"
    assert not package_of("/etc/php-fpm.conf", "include", include, includes=True)


@pytest.mark.parametrize(("file", "count"), [("docker.conf", 0), ("shop.conf", 1)])
def test_no_edit_of_the_docker_image(file: str, count: int) -> None:
    """Its output of workers is undecorated on purpose."""
    text = "[www]\ncatch_workers_output = yes\ndecorate_workers_output = no\n"
    path = f"/usr/local/etc/php-fpm.d/{file}"
    place = ini_lines.scan([(path, text)], php=True)["www"]
    values = {key: line.value for key, line in place.lines.items()}
    of = checkup()
    (fpm,) = of.fpms
    conf = fpm.conf._replace(pools=(fpm.conf.pools[0]._replace(options=values),))
    of = of._replace(fpms=(fpm._replace(conf=conf, sections={"www": place}),))
    (one,) = [one for one in examine(of, TEXTS) if one.id == "FPM055"]

    assert len(one.edits) == count
    assert bool(one.package) == (count == 0)


def test_the_text() -> None:
    """They are one line without --all, and counted as hints."""
    hint = Finding("FPM059", FindingSeverity.HINT, "f:1", "a", "b", "c", (), "Debian's package")
    other = Finding("FPM060", FindingSeverity.HINT, "f:1", "what", "b", "c")

    text = report.to_text([hint, other, hint], is_all=False)
    assert text.startswith("HINT FPM060 f:1\n")
    assert text.endswith(
        "\n\n2 hints about unchanged defaults of Debian's package: --all shows them\n\n"
        "0 errors, 0 warnings, 3 hints\nfpm-listener explain FPM060 shows more"
    )
    assert report.to_text([hint], is_all=False).endswith("\n\n0 errors, 0 warnings, 1 hint")
    assert "FPM059" in report.to_text([hint, other])
    assert "FPM059" in report.to_json([hint])
