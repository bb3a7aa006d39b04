"""The guard goes in front of php-fpm, and everything else in a command stays."""

from __future__ import annotations

import pytest

from fpm_listener.doctor import guarded_command

GUARD = "fpm-listener guard --hold --"


def expand(text: str) -> str:
    """Return the text with the values of this program."""
    return text.replace("%(ENV_V)s", "8.2").replace("%(program_name)s", "php-fpm8.2")


@pytest.mark.parametrize(
    ("command", "changed"),
    [
        ("php-fpm", "G php-fpm"),
        ("/usr/sbin/php-fpm%(ENV_V)s -F -y '/a b/c.conf'", None),
        ("/usr/sbin/%(program_name)s -F", "G /usr/sbin/%(program_name)s -F"),
        ("docker-php-entrypoint php-fpm", "docker-php-entrypoint G php-fpm"),
        ("su-exec www-data php-fpm -F", "su-exec www-data G php-fpm -F"),
        ("env A='b c' php-fpm -F", "env A='b c' G php-fpm -F"),
        (
            '/bin/bash -c "mkdir -p /run/php && php-fpm7.4 --nodaemonize"',
            '/bin/bash -c "mkdir -p /run/php && exec G php-fpm7.4 --nodaemonize"',
        ),
        ('sh -c "exec php-fpm -F"', 'sh -c "exec G php-fpm -F"'),
        ('sh -c "php-fpm -F 2>&1"', 'sh -c "exec G php-fpm -F 2>&1"'),
        ('bash -c "php-fpm -t && php-fpm -F"', 'bash -c "php-fpm -t && exec G php-fpm -F"'),
    ],
)
def test_the_guard_is_inserted(command: str, changed: str | None) -> None:
    """Quotes, variables and other programs stay as they are."""
    wanted = (changed or f"G {command}").replace("G ", f"{GUARD} ")
    assert guarded_command.with_guard(command, GUARD, expand) == wanted


@pytest.mark.parametrize(
    "command",
    [
        "/start.sh",
        "nginx -g 'daemon off;'",
        "/bin/sh -c 'php-fpm -F; echo ended'",
        "sh -c 'php-fpm -F | tee /log'",
        "sh -c 'php-fpm -F & wait'",
        "chroot /jail php-fpm -F",
        "su www-data -c 'php-fpm -F'",
        "fpm-listener guard --hold -- php-fpm -F",
        "/opt/fpm-listener.pyz guard --hold -- php-fpm -F",
        "python3 '/opt/my apps/fpm-listener-0.1.0.pyz' guard --hold -- php-fpm -F",
        "php-fpm 'unclosed",
    ],
)
def test_there_is_no_safe_place(command: str) -> None:
    """The command does not change."""
    assert guarded_command.with_guard(command, GUARD, expand) is None


def test_a_shell_that_only_waits_is_removed() -> None:
    """The guard waits for the address instead."""
    command = "sh -c 'sleep 1 && php-fpm -F'"
    assert guarded_command.without_shell(command, GUARD) == f"{GUARD} php-fpm -F"
    assert guarded_command.without_shell("sh -c 'mkdir x && php-fpm'", GUARD) is None
