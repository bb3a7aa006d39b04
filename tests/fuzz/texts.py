"""Fuzz targets: texts of supervisord, php-fpm, the operator and receivers, read without I/O."""

from __future__ import annotations

import fnmatch
import json
import math
import re

from fpm_listener import durations
from fpm_listener.delivery.attempt import Delivered, RetryLater, retry_after
from fpm_listener.delivery.receivers import (
    alertmanager,
    dingtalk,
    discord,
    feishu,
    slack,
    teams,
    telegram,
    wecom,
)
from fpm_listener.delivery.receivers.http import HttpResponse, by_status
from fpm_listener.guard import handover_messages
from fpm_listener.host import addresses
from fpm_listener.phpfpm import (
    command_line,
    config,
    config_files,
    inherited_sockets,
    log_parser,
    log_scanner,
    opcache,
    status_entries,
    status_page,
    worker_requests,
)
from fpm_listener.phpfpm.listen_sockets import specs
from fpm_listener.settings import mute_times as settings_mute_times
from fpm_listener.supervisor import ini_lines as supervisor_ini_lines
from fpm_listener.supervisor import ini_values, startsecs
from fpm_listener.supervisor.events import read
from fpm_listener.supervisor.exit_log import LogCursor, parse_line
from fpm_listener.supervisor.process import ProcessName
from fpm_listener.supervisor.protocol import Decoder, Event
from tests.fuzz.target import SPLIT, Target, check, fpm_lines, parts, shapes, text

#: A Friday in 2026, in wall seconds.
NOW_S = 1_795_000_000.0

# -- supervisord -----------------------------------------------------------------------------------

_PAYLOAD = b"processname:cat groupname:cat from_state:STARTING tries:1"
_EVENT = (
    b"ver:3.0 server:supervisor serial:21 pool:listener poolserial:10 "
    b"eventname:PROCESS_STATE_BACKOFF len:%d\n%s" % (len(_PAYLOAD), _PAYLOAD)
)


def protocol(data: bytes) -> None:
    """Any chunking gives the same events, and nothing is invented."""
    whole = Decoder().feed(data)
    decoder = Decoder()
    size = 1 + len(data) // 7
    pieces = [
        found for at in range(0, len(data), size) for found in decoder.feed(data[at : at + size])
    ]
    events = [one for one in whole if isinstance(one, Event)]
    check(events == [one for one in pieces if isinstance(one, Event)], "chunks change the events")
    check(sum(len(one.payload) for one in events) <= len(data), "payloads longer than the input")


def events(data: bytes) -> None:
    """A payload never raises, and a process's name survives it, whatever its letters."""
    name, payload = map(text, parts(data, 2))
    read(name, payload)
    read("PROCESS_STATE_EXITED", payload)
    read("PROCESS_LOG_STDERR", payload)
    # What supervisor allows in a name (options.py, process_or_group_name).
    wanted = "".join(one for one in payload if one not in " :/\r\n")
    if wanted:
        said = f"processname:{wanted} groupname:{wanted} from_state:RUNNING expected:1 pid:7"
        found = read("PROCESS_STATE_EXITED", said)
        check(getattr(found, "process", None) == ProcessName(wanted, wanted), "another name")


def exits(data: bytes) -> None:
    """A line of supervisord's log never raises; a log that grows tells each death once."""
    log = text(data)
    for line in log.split("\n"):
        parse_line(line)
    cursor = LogCursor(skip_old=False)
    half = log[: len(log) // 2]
    notes = len(cursor.take(half)) + len(cursor.take(log))
    check(notes <= log.count("\n") * 2, "more deaths than lines")


# -- php-fpm ---------------------------------------------------------------------------------------


def fpm_log(data: bytes) -> None:
    """`scan` finds what `classify` finds, and no fact is longer than what is kept."""
    found = log_scanner.scan(data)
    lines = data.split(b"\n")
    one_by_one = [
        fact
        for line in lines
        if (fact := log_parser.classify(line.removesuffix(b"\r").decode("utf-8", "replace")))
    ]
    check(found == one_by_one, "scan and classify differ")
    for fact in found:
        check(len(fact.line) <= log_parser.KEPT, "a line is too long")
        check(len(fact.address or "") + len(fact.named or "") <= 2 * log_parser.KEPT, "a long name")


def guard_line(data: bytes) -> None:
    """What stands behind the guard's name never raises."""
    fpm_log(b"fpm-listener guard: " + data)


class _Files:
    """Files of a configuration, from the parts of an input; counts what is read."""

    def __init__(self, data: bytes) -> None:
        self._files = {f"/{at}.conf": text(one) for at, one in enumerate(data.split(SPLIT)[:6])}
        self.reads = 0

    def read(self, path: str) -> str:
        self.reads += 1
        try:
            return self._files[path]
        except KeyError:
            raise FileNotFoundError(2, "No such file or directory", path) from None

    def glob(self, pattern: str) -> list[str]:
        return sorted(path for path in self._files if fnmatch.fnmatchcase(path, pattern))

    def exists(self, path: str) -> bool:
        return path in self._files


_INVOCATION = command_line.FpmInvocation(binary="/usr/sbin/php-fpm8.3", foreground=True)
_LAYOUT = config_files.layouts(_INVOCATION)[0]


def fpm_conf(data: bytes) -> None:
    """A configuration never raises, is read a bounded number of times, and does not grow."""
    files = _Files(data)
    environment = {"A": "${B}", "B": "x" * 100}
    conf = config.load(
        "/0.conf", files, layout=_LAYOUT, invocation=_INVOCATION, environment=environment
    )
    for wish in specs(conf, (8, 3)):
        check(wish.unsupported or wish.rights.mode <= 0o777, "a mode of more than 0777")
    check(files.reads <= 1000, f"{files.reads} files are read")
    held = sum(len(value) for pool in conf.pools for value in pool.options.values())
    held += sum(map(len, conf.options.values())) + sum(map(len, conf.problems))
    check(held <= (1 << 20) + 1000 * len(data), f"{len(data)} bytes become {held}")


def command(data: bytes) -> None:
    """A command line never raises."""
    line = text(data)
    found = command_line.find(line)
    command_line.find_behind_sleep(line)
    if found is not None:
        check(all(isinstance(number, int) for number in found.version), "no version")
        check(config_files.config_candidates(found), "no configuration")


def fpm_sockets(data: bytes) -> None:
    """What is written into FPM_SOCKETS can be read again, key by key."""
    keys = [text(one).translate({ord(","): None, ord("="): None}) for one in data.split(SPLIT)]
    given = [(key, at + 3) for at, key in enumerate(keys)]
    words = inherited_sockets.environment(given)
    pairs = [pair.rpartition("=") for value in words.values() for pair in value.split(",")]
    check([(key, int(number)) for key, _, number in pairs] == given, "another list of sockets")
    check(all(map(inherited_sockets.is_inherited, words)), "a variable that is not recognised")


def fpm_status(data: bytes) -> None:
    """Any process can answer on a pool's port: numbers are finite, counts are no more than said."""
    page = status_entries.split(data.decode("utf-8", "replace"))
    found = status_page.parse(page)
    if page is not None and found is not None:
        numbers, states = found
        for one in worker_requests.longest(page, ("/status",)):
            check("?" not in one.script, "a query string")
            check(0 <= one.duration_s < math.inf, "a duration without end")
        check(all(map(math.isfinite, numbers.values())), "a number without end")
        check(sum(states.values()) <= len(data), "more workers than bytes")


def opcache_answer(data: bytes) -> None:
    """Any script can answer: numbers are finite, and there are numbers or a problem."""
    body = data.decode("utf-8", "replace")
    for status in (200, 404):
        view = opcache.read(status, body, "/x.php")
        check(all(0 <= one <= 1 << 64 for one in view.numbers.values()), "a number without end")
        check(len(view.problem) < 400, "a long problem")
        check(status == 200 or view.problem, "no problem")


# -- the operator ----------------------------------------------------------------------------------


def address(data: bytes) -> None:
    """An address never raises, and means itself."""
    for word in text(data).split("\n"):
        found = addresses.parse(word)
        same = addresses.same(found, found)
        check(same or isinstance(found, addresses.UnusableAddress), "it is not itself")
        check(addresses.parse(found.text) == found, "read once more, it is another")
        if isinstance(found, addresses.UnixAddress):
            check(len(found.path.encode("utf-8", "surrogateescape")) <= 107, "a path too long")


def duration(data: bytes) -> None:
    """A duration is refused, or is a finite number of seconds that can be shown."""
    try:
        seconds = durations.parse(text(data))
    except ValueError:
        return
    check(math.isfinite(seconds) and seconds >= 0, "no finite duration")
    durations.age(seconds)
    if seconds >= 1:
        again = durations.parse(durations.show(seconds))
        check(math.isclose(again, seconds, rel_tol=0.02), "shown as another duration")


def mute_times(data: bytes) -> None:
    """Times of the week are refused, or end within two weeks."""
    try:
        found = settings_mute_times.parse(text(data))
    except ValueError:
        return
    ends_s = found.ends_s(NOW_S)
    check(ends_s is None or NOW_S < ends_s < NOW_S + 14 * 86400, "it is muted without end")
    check(0 <= found.within_s(NOW_S, NOW_S + 86400) <= 86400 + 3600, "more than a day in a day")


def ini_lines(data: bytes) -> None:
    """The doctor's own reading of files never raises."""
    supervisor_ini_lines.scan([("a.conf", text(data))])
    supervisor_ini_lines.scan([("b.conf", text(data))], php=True)


def start_seconds(data: bytes) -> None:
    """What the guard reads of supervisord's files never raises."""
    # A width is supervisord's to expand: it would fill its own memory with it, too.
    texts = [re.sub(r"\d{4,}", "7", text(one)) for one in data.split(SPLIT)[:4]]
    names = {"here": "/etc", "program_name": "php-fpm"}
    ini_values.included(texts[0], names)
    startsecs.find(texts, "php-fpm", "php-fpm", names)


# -- receivers and guards --------------------------------------------------------------------------

_CLASSIFIERS = (
    *(
        by_status,
        alertmanager.classify_response,
        dingtalk.classify_response,
        discord.classify_response,
        feishu.classify_response,
        slack.classify_response,
    ),
    *(teams.classify_response, telegram.classify_response, wecom.classify_response),
)
_STATUSES = (200, 200, 200, 204, 302, 400, 404, 429, 500, 999)


def receiver_answer(data: bytes) -> None:
    """Any answer is an outcome; a wait is finite, and what is shown is one short line."""
    head, body = parts(data, 2)
    status = _STATUSES[head[0] % len(_STATUSES)] if head else 200
    for classify in _CLASSIFIERS:
        outcome = classify(
            HttpResponse(status=status, retry_after=text(head[1:]), body=body), NOW_S
        )
        if isinstance(outcome, Delivered):
            check(status < 300, "a refusal counts as delivered")
            continue
        check(len(outcome.detail) < 1000 and "\n" not in outcome.detail, "a long detail")
        if isinstance(outcome, RetryLater) and outcome.after_s is not None:
            check(0 <= outcome.after_s <= 3600, "a wait without end")


def retry_header(data: bytes) -> None:
    """A Retry-After is nothing, or at most an hour."""
    wait_s = retry_after(text(data), NOW_S)
    check(wait_s is None or 0 <= wait_s <= 3600, "a wait without end")


def handover_packet(data: bytes) -> None:
    """A packet is refused, or is written as it was read."""
    kinds = (
        handover_messages.Hello,
        handover_messages.Offer,
        handover_messages.Keep,
        handover_messages.Deposit,
        handover_messages.Done,
    )
    try:
        message = handover_messages.decode(data, kinds)
        again = handover_messages.decode(handover_messages.encode(message), kinds)
    except ValueError:
        return
    check(vars(again) == vars(message), "another message")


_PAGE = {
    **{key: at for at, key in enumerate(status_page.NUMBERS)},
    "processes": [{"pid": 11, "state": "Running"}, {"pid": 12, "state": {}}],
}
_OPCACHE = {
    part: {key: 7 for group, key in opcache.NUMBERS.values() if group == part}
    for part, _ in opcache.NUMBERS.values()
}
_OPCACHE_ANSWER = json.dumps({"status": {"opcache_enabled": True, **_OPCACHE}}).encode()
_MARK = b"Notice: x\nfpm-listener-opcache "
_DEPOSIT = handover_messages.Deposit("stamp", ("/etc",), ("127.0.0.1:9000",), ("9000",))

TARGETS = {
    "protocol": Target(protocol, (_EVENT, _EVENT * 3, b"\nver:x" + _EVENT, b"OKver:3.0 len:9\n")),
    "events": Target(
        events,
        (
            b"PROCESS_STATE_BACKOFF\x1e" + _PAYLOAD,
            b"PROCESS_LOG_STDERR\x1eprocessname:a groupname:b pid:7 channel:stderr\nERROR: x\n",
            b"PROCESS_LOG_STDOUT\x1eprocessname:a groupname:b\nUndecodable: b'\\xff\\n'",
            b"PROCESS_GROUP_ADDED\x1egroupname:caf\xc3\xa9",
            "PROCESS_STATE_EXITED\x1ea\u00a0b\u3000c\t".encode(),
        ),
    ),
    "exits": Target(
        exits,
        (
            b"2026-11-23 08:39:55,123 WARN exited: php-fpm (exit status 78; not expected)\n" * 2,
            b"2026-11-23 08:39:55,123 INFO stopped: php-fpm (terminated by SIGKILL)\n",
            b"2026-11-23 08:39:55,123 INFO exited: a (terminated by signal 40 (core dumped))\n",
            b"2026-11-23 08:39:55,123 WARN exited: a (exit status %b; expected)\n" % (b"9" * 5000),
        ),
        stretch=1 << 13,  # the end of a log of 8 KiB to 64 KiB is read
    ),
    "fpm-log": Target(fpm_log, fpm_lines()),
    "guard-line": Target(
        guard_line,
        (
            b"[bind_conflict address=127.0.0.1:9000 pid=9] 127.0.0.1:9000 is in use by pid 9 (x)",
            b'[address_absent address="/run/a\\u0020b.sock"] x',
            b"[missing_path program=php-fpm8.9] cannot execute php-fpm8.9",
        ),
    ),
    "fpm-conf": Target(
        fpm_conf,
        (
            *(shapes("php-fpm.conf") + shapes("www.conf")),
            b"include=/1.conf\x1einclude=/[12].conf\x1e[www]\nlisten=${A:-/run/$pool.sock}\n",
            b"include=/*.conf\x1einclude=/*.conf\x1einclude=/*.conf\x1einclude=/*.conf",
        ),
    ),
    "command": Target(
        command,
        (
            b"/usr/sbin/php-fpm8.2 -F -y /etc/php-fpm.conf -g /run/x.pid",
            b'bash -c "sleep 1 && /usr/sbin/php-fpm --fpm-config /etc/php-fpm.conf --pid x"',
            b"env -u A FOO=b nice -n 5 timeout -k 1 5 fpm-listener guard --hold -- php-fpm -F",
            b"sh -c 'cat <<EOF\n$(x) `y`\nEOF\nexec php-fpm -R 2>&1 | tee \"$@\"'",
        ),
    ),
    "fpm-sockets": Target(fpm_sockets, (b"127.0.0.1:9000\x1e/run/php/w.sock", b"9000")),
    "fpm-status": Target(
        fpm_status,
        (json.dumps(_PAGE).encode(), b'{"accepted conn":1,"processes":[{"state":{}}]}'),
    ),
    "opcache-answer": Target(
        opcache_answer,
        (
            _MARK + _OPCACHE_ANSWER + b"\n",
            _MARK + b'{"loaded":true,"callable":true,"restricted":true,"status":null}',
            b"File not found.\n",
        ),
    ),
    "address": Target(
        address,
        (b"127.0.0.1:9000\n[::1]:9000\n9000", b"/run/a.sock\n0x7f.1:09", b"[::ffff:1.2.3.4%x]:1"),
    ),
    "duration": Target(duration, (b"500ms", b"1.5s", b"15m", b"4h", b"36500d", b"9" * 400 + b"d")),
    "mute-times": Target(
        mute_times, (b"Mon-Fri 22:00-06:00, Sat-Sun, 12:00-13:00", b"24:00-00:00")
    ),
    "start-seconds": Target(
        start_seconds,
        (
            *shapes("supervisord.conf"),
            (
                b"[program:php-fpm]\nprocess_name=%(program_name)s_%(process_num)02d\nnumprocs=2\n"
                b"startsecs=3\n\x1e[group:php-fpm]\nprograms=a,b\n"
            ),
        ),
    ),
    "ini-lines": Target(ini_lines, (*shapes("supervisord.conf"), *shapes("php-fpm.conf"))),
    "receiver-answer": Target(
        receiver_answer,
        (
            b"\x000\x1eok",
            b'\x00120\x1e{"errcode":45009,"errmsg":"x"}',
            b'\x07Fri, 27 Nov 2026 10:00:00 GMT\x1e{"ok":false,"parameters":{"retry_after":5}}',
            b'\x00\x1e{"code":0,"msg":"success","StatusCode":0}',
        ),
    ),
    "retry-after": Target(retry_header, (b"120", b"1.5", b"Fri, 27 Nov 2026 10:00:60 GMT")),
    "handover": Target(
        handover_packet,
        (
            handover_messages.encode(handover_messages.Hello("a", "b", hold=True)),
            handover_messages.encode(_DEPOSIT),
        ),
    ),
}
