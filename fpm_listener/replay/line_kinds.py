"""Decides who has written a line.

Laws:
1. In a file of several programs, a line counts only if all of its beginning is that of a line of
   supervisord or php-fpm. The output of applications is never searched.
2. php-fpm's log can have any line of an application. So a line there is never supervisord's.
3. A line that repeats the words of a worker (`said into stderr`) states nothing.

Source: supervisor/process.py, supervisord.py and options.py (4.2.5 and 4.3.0); php-src zlog.c.
"""

from __future__ import annotations

import re

from fpm_listener.phpfpm import guard_messages
from fpm_listener.replay.log_values import Source
from fpm_listener.replay.stamps import FPM_STAMP

_SUPERVISORD = re.compile(
    rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (?:CRIT|ERRO|WARN|INFO) "
    rb"(?:spawned: '|success: |exited: |stopped: |gave up: |spawnerr: |killing '|waiting for "
    rb"|supervisord (?:started with pid|logreopen)|received SIG|reaped unknown pid |daemonizing "
    rb"|Supervisor (?:is )?running as root|Included extra file|RPC interface |Set uid to user "
    rb"|Increased RLIMIT|Server 'unix_http_server'|Server 'inet_http_server'"
    rb"|unix_http_server running|inet_http_server running)"
)
_SUPERVISORD_STAMP = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]{4} ")
_LEVEL = rb"(?:NOTICE|WARNING|ERROR|ALERT)"
_FPM = re.compile(FPM_STAMP + _LEVEL + rb": ")
_FPM_SYSLOG = re.compile(rb"\[" + _LEVEL + rb"\] ")
_GUARD = guard_messages.PREFIX.encode()
_WORKER_OUTPUT = b" said into std"


def source_of(
    text: bytes, file_source: Source, ident: bytes = b"", *, is_syslog: bool = False
) -> Source | None:
    """Return who has written a line; None = it is not known, or the line states nothing.

    text: the line without envelopes. ident: the program's name in syslog. is_syslog: the file has
    such names.
    """
    if file_source is Source.FPM or file_source is Source.OUTPUT:
        return file_source
    if text[:1] == b"[":
        if _FPM.match(text):
            return None if _WORKER_OUTPUT in text[:256] else Source.FPM
        is_fpm = is_syslog and (b"fpm" in ident or b"php" in ident)
        return Source.FPM if is_fpm and _FPM_SYSLOG.match(text) else None
    if text.startswith(_GUARD):
        return Source.FPM
    pattern = _SUPERVISORD_STAMP if file_source is Source.SUPERVISORD else _SUPERVISORD
    return Source.SUPERVISORD if pattern.match(text) else None
