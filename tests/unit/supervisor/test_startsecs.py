"""startsecs of a process, found in the text of supervisord's configuration."""

from __future__ import annotations

import pytest

from fpm_listener.supervisor.ini_values import included
from fpm_listener.supervisor.startsecs import find, longest_wait_s

HERE = {"here": "/etc/supervisor", "ENV_SECONDS": "7", "host_node_name": "h"}


@pytest.mark.parametrize(
    ("text", "group", "process", "expected"),
    [
        ("[program:php-fpm]\nstartsecs=3", "php-fpm", "php-fpm", 3),
        ("[program:php-fpm]\nstartsecs = 3 ; seconds", "php-fpm", "php-fpm", 3),
        ("[program:php-fpm]\ncommand=x", "php-fpm", "php-fpm", 1),
        ("[program:php-fpm]\nstartsecs=%(ENV_SECONDS)s", "php-fpm", "php-fpm", 7),
        ("[program:php-fpm]\nstartsecs=%(ENV_UNKNOWN)s", "php-fpm", "php-fpm", None),
        ("[program:php-fpm]\nstartsecs=soon", "php-fpm", "php-fpm", None),
        ("[program:other]\nstartsecs=3", "php-fpm", "php-fpm", None),
        ("[fcgi-program:php-fpm]\nstartsecs=4", "php-fpm", "php-fpm", 4),
        (
            "[program:a]\nstartsecs=3\n[program:b]\nstartsecs=9\n[group:g]\nprograms=a, b",
            *("g", "b", 9),
        ),
        (
            (
                "[program:a]\nprocess_name=%(program_name)s_%(process_num)02d\nnumprocs=3\nstartsecs=5"
                "\n[program:b]\nstartsecs=2\n[group:g]\nprograms=a,b"
            ),
            *("g", "a_02", 5),
        ),
        ("[program:a]\nstartsecs=3\n[program:b]\n[group:g]\nprograms=a,b", "g", "unknown", 1),
        (
            (
                "[program:a]\nprocess_name=%(group_name)s-a\nstartsecs=5\n"
                "[program:b]\nstartsecs=2\n[group:g]\nprograms=a,b"
            ),
            *("g", "g-a", 5),
        ),
        (f"[program:a]\nnumprocs={'9' * 5000}\nstartsecs=3", "a", "a", 3),
        (f"[program:a]\nnumprocs_start={'9' * 5000}\nstartsecs=3", "a", "a", 3),
        (f"[program:a]\nprocess_name=%(process_num){'9' * 30}d\nstartsecs=3", "a", "a", 3),
        ("[program:a]\nprocess_name=%(process_num)04000000000d\nstartsecs=3", "a", "a", 3),
        ("[program:a]\nprocess_name=%(process_num).4000000000d\nstartsecs=3", "a", "a", 3),
        ("[program:a]\nstartsecs=%(ENV_SECONDS)4000000000s", "a", "a", None),
        ("[program:a]\nstartsecs=" + "%(here)s" * 1000, "a", "a", None),
        ("", "php-fpm", "php-fpm", None),
        ("nonsense\n[program:php-fpm\n\0", "php-fpm", "php-fpm", None),
    ],
)
def test_one_file(text: str, group: str, process: str, expected: float | None) -> None:
    """As supervisor reads it; where it is not clear whose value counts, the smallest."""
    assert find([text], group, process, HERE) == expected


def test_several_files() -> None:
    """What is included later counts."""
    main = "[program:php-fpm]\nstartsecs=3\n[include]\nfiles = %(here)s/conf.d/*.conf *.ini\n"

    assert included(main, HERE) == ("/etc/supervisor/conf.d/*.conf", "*.ini")
    assert find([main, "[program:php-fpm]\nstartsecs=8"], "php-fpm", "php-fpm", HERE) == 8
    assert included("[supervisord]", HERE) == ()


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(None, 0.5), (0.0, 0.0), (1.0, 0.5), (2.0, 1.0), (3.0, 1.8), (12.0, 10.8)],
)
def test_the_longest_wait(seconds: float | None, expected: float) -> None:
    """One look of supervisord's, which comes once a second, is left; or half of startsecs."""
    assert longest_wait_s(seconds) == pytest.approx(expected)
