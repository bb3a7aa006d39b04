"""Which messages of a failed start `php-fpm -t` reports, too (php-fpm 8.2.36)."""

from __future__ import annotations

import pytest

from fpm_listener.phpfpm import config_test

AT = "[23-Nov-2026 10:02:07] "


@pytest.mark.parametrize(
    "line",
    [
        f"{AT}ERROR: [/etc/php-fpm.conf:3] unknown entry 'x'",
        f"{AT}ERROR: failed to load configuration file '/etc/php-fpm.conf'",
        f"{AT}ALERT: [pool www] user has not been defined",
        "[23-Nov-2026 10:02:16.321232] ALERT: pid 14, fpm_x(), line 880: [pool www] pm.x must be",
        "[ERROR] [pool b] unable to set listen address as it's already used in another pool 'a'",
        f"{AT}ERROR: [pool www] the chdir path '/no' does not exist or is not a directory",
        f"{AT}ERROR: No pool defined. at least one pool section must be specified in config file",
        "PHP:  syntax error, unexpected '=' in Unknown on line 3",
    ],
)
def test_reported(line: str) -> None:
    """php-fpm prints them while it reads its configuration."""
    assert config_test.reports(line)


@pytest.mark.parametrize(
    "line",
    [
        f"{AT}ERROR: [pool www] please specify user and group other than root",
        f"{AT}ERROR: getaddrinfo: Name or service not known",
        f"{AT}ERROR: invalid port value '99999'",
        f"{AT}ERROR: failed to open configuration file '/etc/x': Permission denied (13)",
        f"{AT}ERROR: failed to set rlimit_files for this pool.",
        f"{AT}ALERT: oops, unknown child (12) exited with code 1.",
        f"{AT}NOTICE: [pool www] 'user' directive is ignored",
        "PHP Fatal error:  Failed opening required 'x'",
        "",
    ],
)
def test_not_reported(line: str) -> None:
    """`-t` ends before, or depends on the user who runs it."""
    assert not config_test.reports(line)
