"""The section that belongs to a process."""

from __future__ import annotations

import pytest

from fpm_listener.doctor.gathering import _section_of
from fpm_listener.supervisor import ini_lines

QUEUE = "[group:php-fpm]\nprograms=queue,php-fpm\n[program:queue]\n[program:php-fpm]\n"
WEB = "[group:web]\nprograms=php,php-fpm\n[program:php]\n[program:php-fpm]\n"
CGI = "[group:web]\nprograms=php\n[fcgi-program:php]\n[program:php]\n"


@pytest.mark.parametrize(
    ("text", "kind", "group", "name", "section"),
    [
        (QUEUE, "program", "php-fpm", "queue", "program:queue"),
        (QUEUE, "program", "php-fpm", "php-fpm", "program:php-fpm"),
        (WEB, "program", "web", "php-fpm_00", "program:php-fpm"),
        (WEB, "program", "web", "php_00", "program:php"),
        (WEB, "program", "web", "other", "program:php"),
        (CGI, "fcgi-program", "web", "php_00", "fcgi-program:php"),
        ("[program:web]\n", "program", "web", "web_00", "program:web"),
        ("[eventlistener:x]\n", "eventlistener", "x", "x", "eventlistener:x"),
        ("[program:other]\n", "program", "web", "web_00", "program:web"),
    ],
)
def test_the_section_of_a_process(
    text: str, kind: str, group: str, name: str, section: str
) -> None:
    """The longest name that begins the name of the process wins; edits go to this section."""
    sections = ini_lines.scan([("supervisord.conf", text)])

    assert _section_of({"kind": kind, "group": group, "name": name}, sections).name == section
