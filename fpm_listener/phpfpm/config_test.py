"""Which messages of a failed start `php-fpm -t` reports, too.

Law: a message that is not listed here is none of them. `-t` ends before php-fpm opens sockets,
changes limits, or checks whether workers run as root.

Source: php-src sapi/fpm/fpm (7.4 to 8.5), fpm_conf.c, `fpm_conf_init_main`; compared with
`php-fpm8.2 -t`.
"""

from __future__ import annotations

import re

from fpm_listener.phpfpm.log_parser import HEAD

#: A message of the parser: the file and the line.
_FILE_AND_LINE = re.compile(r"\[[^\]]+:\d+\] ")
#: Messages at ERROR that php-fpm prints while it reads and checks its configuration.
_REPORTED = (
    *("failed to load configuration file ", "failed to post process the configuration"),
    *("No pool defined. ", "Unable to globalize ", "log_limit must be ", "event mechanism "),
    *("unable to set listen address as it's already used in another pool ", "the prefix "),
    *("wrong format for access.format ", "failed to include more than ", "the chroot path "),
    *("the chdir path ", "'slowlog' must be specified "),
)


def reports(line: str) -> bool:
    """Return whether `php-fpm -t` reports what this line of the log says."""
    if line.startswith("PHP:  syntax error"):
        return True
    head = HEAD.match(line)
    level = head and (head["level"] or head["syslog"])
    if head is None or level not in {"ERROR", "ALERT"}:
        return False
    if head["pool"] is not None and level == "ALERT":
        return True  # fpm_conf_process_all_pools
    text = line[head.end() :]
    return text.startswith(_REPORTED) or _FILE_AND_LINE.match(text) is not None
