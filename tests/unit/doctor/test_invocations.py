"""Which programs are php-fpm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fpm_listener.doctor import gathering, invocations
from fpm_listener.doctor.checked_config import Section, Supervised, Unknown
from fpm_listener.doctor.invocations import Invocation
from fpm_listener.supervisor.ini_lines import ConfigSection
from tests.fakes import FakeHost

if TYPE_CHECKING:
    from pathlib import Path


def test_one_script_for_two_programs(tmp_path: Path) -> None:
    """A script that can become another program is php-fpm only for a program with its name."""
    script = tmp_path / "start.sh"
    script.write_text("#!/bin/sh\n[ $1 = queue ] && exec php artisan\nexec php-fpm8.2 -F\n")

    assert isinstance(_find("php-fpm", f"{script} app"), Invocation)
    assert _find("queue", f"{script} queue") is None


def test_a_script_with_unknown_options(tmp_path: Path) -> None:
    """It is php-fpm whatever the options and the name of the program are."""
    script = tmp_path / "start.sh"
    script.write_text("#!/bin/bash\n. /config.sh\nexec php-fpm8.2 -F $OPTIONS\n")
    assert isinstance(_find("webd", str(script)), Unknown)
    script.write_text("#!/bin/sh\n[ $1 = q ] && exec php artisan\nexec php-fpm8.2 -F $OPTIONS\n")
    assert _find("webd", f"{script} q") is None


def _find(name: str, command: str) -> Invocation | Unknown | None:
    place = ConfigSection(f"program:{name}", "/s.conf", 1, {})
    values = {"command": command, "inherited": {}}
    return invocations.find(Supervised("program", name, name, Section(place, values)))


@pytest.mark.parametrize(
    "command",
    [
        "fpm-listener after php-fpm -- nginx -g 'daemon off;'",
        "/opt/fpm-listener.pyz after --timeout 9s php-fpm --config x -- nginx",
        'sh -c "exec fpm-listener after php-fpm -- nginx"',
    ],
)
def test_a_program_that_waits_for_php_fpm(command: str) -> None:
    """It is not php-fpm: FPM027 would ask the user to rename nginx."""
    place = ConfigSection("program:nginx", "/s.conf", 1, {})
    section = Section(place, {"command": command, "inherited": {}})
    assert invocations.find(Supervised("program", "nginx", "nginx", section)) is None


def test_each_configuration_of_a_section(tmp_path: Path) -> None:
    """With numprocs each process can have its own configuration."""
    conf = tmp_path / "supervisord.conf"
    conf.write_text(
        "[supervisord]\n[program:php-fpm]\nnumprocs=3\nprocess_name=%(process_num)s\n"
        f"command=php-fpm8.2 -F -y {tmp_path}/%(process_num)s.conf\n"
        "[program:same]\nnumprocs=3\nprocess_name=%(process_num)s\n"
        f"command=php-fpm8.2 -F -y {tmp_path}/same.conf\n"
    )
    found = gathering.gather(str(conf), FakeHost(), {})
    names = [fpm.conf.path.removeprefix(f"{tmp_path}/") for fpm in found.fpms]
    assert sorted(names) == ["0.conf", "1.conf", "2.conf", "same.conf"]
