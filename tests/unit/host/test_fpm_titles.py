"""The titles of php-fpm's processes."""

from __future__ import annotations

import pytest

from fpm_listener.host import fpm_titles


@pytest.mark.parametrize(
    ("title", "config", "pool"),
    [
        ("php-fpm: master process (/etc/php-fpm.conf)", "/etc/php-fpm.conf", None),
        ("php-fpm: master process (/srv/a b (old)/fpm.conf)", "/srv/a b (old)/fpm.conf", None),
        ("php-fpm: master process (fpm.conf)", "fpm.conf", None),
        ("php-fpm: master process (/etc/php-fpm.conf) -F", "/etc/php-fpm.conf", None),
        ("php-fpm: master process (/etc/php-f", None, None),  # cut
        ("php-fpm: master process ()", None, None),
        ("php-fpm: master process (", None, None),
        ("php-fpm: master process (/a\x1b[2J)", None, None),
        (f"php-fpm: master process (/{'a' * 4000})", None, None),
        ("xphp-fpm: master process (/a)", None, None),
        ("php-fpm: pool www", None, "www"),
        ("php-fpm: pool ", None, None),
        ("nginx: worker process", None, None),
        ("", None, None),
    ],
)
def test_titles(title: str, config: str | None, pool: str | None) -> None:
    """A master names its configuration, and a worker its pool."""
    assert fpm_titles.config_of(title) == config
    assert fpm_titles.pool_of(title) == pool
    assert fpm_titles.is_php_fpm(title) == title.startswith("php-fpm: ")
