"""No remedy contains a command that cannot work in its situation.

Each rule names a part of a remedy and the facts under which it may stand there. Every cause is
combined with every situation below.
"""

from __future__ import annotations

import itertools
import re
import shlex
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import pytest

from fpm_listener.host.address_holders import Holder, HolderKind, HolderReport, HolderSupervisor
from fpm_listener.host.oom_kills import OomKill
from fpm_listener.host.operator_commands import OperatorCommands
from fpm_listener.incidents.incident_facts import IncidentFacts
from fpm_listener.incidents.post_mortem import Needs, PostMortem
from fpm_listener.incidents.program_output import ProgramOutput
from fpm_listener.incidents.text_en import ENGLISH
from fpm_listener.incidents.text_zh import CHINESE
from fpm_listener.phpfpm import config_test
from fpm_listener.phpfpm.config import FpmSite
from fpm_listener.status.remedy_commands import pieces
from fpm_listener.supervisor.exit_log import ExitReason
from fpm_listener.supervisor.process import ProcessName
from fpm_listener.vocabulary import Cause, Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONF = "/etc/php/8.2/fpm/php-fpm.conf"
SITE = FpmSite(
    addresses=("127.0.0.1:9000",),
    user="www-data",
    error_logs=("/var/log/php fpm.log",),
    config=CONF,
    check_command=f"/usr/sbin/php-fpm8.2 -t -y {CONF}",
)
PROGRAM = "/usr/sbin/php-fpm8.2"
BARE = IncidentFacts(
    name=ProcessName("web", "app"), cause=Cause.GAVE_UP, needs=Needs(program=PROGRAM)
)
OOM = OomKill(kills=1, where="cgroup /system.slice/supervisor.service", limit=128 << 20, peak=None)

#: What an operator can use.
COMMANDS = {
    "everything": OperatorCommands(supervisord=1),
    "another file": OperatorCommands(supervisorctl="supervisorctl -c '/srv/a b.conf'"),
    "no control socket": OperatorCommands(supervisorctl=None, supervisord=1),
    "Alpine": OperatorCommands(
        supervisord=1, tools=frozenset({"addgroup", "adduser", "df", "dmesg", "netstat"})
    ),
    "a small image": OperatorCommands(
        supervisorctl=None,
        supervisord=1,
        tools=frozenset({"df", "dmesg", "install", "useradd", "groupadd"}),
        capabilities=frozenset(),
    ),
}

#: The lines that can show a cause.
LINES = (
    None,
    f"[23-Nov-2026 10:02:07] ERROR: [{CONF}:3] unknown entry 'x'",
    "[23-Nov-2026 10:02:07] ALERT: [pool www] user has not been defined",
    "[23-Nov-2026 10:02:07] ERROR: [pool www] please specify user and group other than root",
    "[23-Nov-2026 10:02:07] ERROR: invalid port value '99999'",
    f"ERROR: failed to open configuration file '{CONF}': Permission denied (13)",
    "ERROR: unable to bind listening socket for address '/r/w.sock': Read-only file system (30)",
)
NAMED = (
    *(None, PROGRAM, "/run/web app/w.pid", "/proc/self/fd/2", "/dev/stderr", "user deploy"),
    *("group deploy", "/tmp/x; rm -rf y"),
)
ADDRESSES = (None, "127.0.0.1:9000", "[::]:80", "/run/web/w.sock")
EXITS = (None, *(ExitReason(signal=number) for number in (9, 11, 15)), ExitReason(status=78))
FILE = ProgramOutput(stderr_file="/var/log/x.err", stdout_file="/var/log/x.out", known=True)
OUTPUTS = (
    FILE,
    replace(FILE, own_logs=("/var/log/my app.log",)),
    replace(FILE, own_logs=("/var/log/a.log",), never_opened=("/var/log/a.log",)),
    replace(FILE, redirect_stderr=True, stderr_file=None),
    ProgramOutput(redirect_stderr=True, stdout_target="/dev/stdout", known=True),
    *(ProgramOutput(stderr_target=one, known=True) for one in ("/dev/stderr", "NONE", "syslog")),
    ProgramOutput(stderr_target="/dev/stderr", stderr_events=True, known=True),
    ProgramOutput(known=True),
    ProgramOutput(),
)
#: Faults of programs that are not php-fpm, too.
OF_ANY_PROGRAM = {
    *(Fault.NO_PROGRAM, Fault.NO_INTERPRETER, Fault.NO_LOADER, Fault.WINDOWS_LINE),
    *(Fault.NO_DIRECTORY, Fault.IS_DIRECTORY, Fault.NOT_EXECUTABLE, Fault.NOEXEC_MOUNT),
    *(Fault.NOT_ROOT, Fault.NO_UID, Fault.NO_FORMAT, Fault.BAD_COMMAND),
}
POST_MORTEMS = (
    None,
    PostMortem(looked_for=(Cause.OUT_OF_MEMORY, Cause.MISSING_PATH)),
    PostMortem(oom=OOM, program_instead=("/usr/sbin/other",)),
)


def holders() -> Iterator[HolderReport | None]:
    """Return every kind of holder, with every kind of supervisor."""
    yield None
    yield HolderReport(address="9000", holders=())
    yield HolderReport(address="9000", holders=(), blind="reading is not permitted")
    listener = "python /usr/bin/fpm-listener listen"
    for command in (f"php-fpm: master process ({CONF})", "php-fpm: pool www", "nginx", listener):
        kind = {
            "php-fpm: m": HolderKind.MASTER,
            "php-fpm: p": HolderKind.ORPHAN,
        }.get(command[:10], HolderKind.OTHER)
        holder = Holder(kind=kind, pid=77, command=command, user="root", master_pid=76)
        for unit in (None, "nginx.service"):
            yield HolderReport(address="9000", holders=(holder._replace(unit=unit),))
        if kind is not HolderKind.ORPHAN:
            for supervisor in supervisors():
                yield HolderReport(
                    address="9000", holders=(holder._replace(supervisor=supervisor),)
                )


def supervisors() -> Iterator[HolderSupervisor]:
    """Return what can start a holder again."""
    for kind in ("supervisord", "runsv", "s6-supervise", "supervise"):
        for ours in (False, True) if kind == "supervisord" else (False,):
            known = HolderSupervisor(
                kind=kind, pid=12, config="/srv/x", control="CONTROL", name="web", ours=ours
            )
            yield known
            yield known._replace(name=None)
            yield known._replace(name=None, control=None)
    yield HolderSupervisor(kind="docker", config="container c", control="docker", name="c")
    yield HolderSupervisor(kind="container", config="container c")


OF_PHP_FPM = {Cause.NOT_ANSWERING, Cause.OPCACHE_FULL, Cause.SATURATED}


def situations() -> Iterator[IncidentFacts]:
    """Return every cause in every situation that its texts distinguish."""
    for commands, is_fpm in itertools.product(COMMANDS.values(), (False, True)):
        site = SITE if is_fpm else FpmSite()
        for cause in set(Cause) - (set() if is_fpm else OF_PHP_FPM):
            base = replace(BARE, cause=cause, commands=commands, is_fpm=is_fpm, site=site)
            yield base
            yield replace(base, gave_up=True)
            yield replace(base, site=FpmSite())
            yield from (replace(base, line=line) for line in LINES)
            yield from (replace(base, output=output) for output in OUTPUTS)
            yield from (replace(base, last_exit=one) for one in EXITS)
            yield from (
                replace(base, fault=fault, named=PROGRAM)
                for fault in Fault
                if fault.cause is cause and (is_fpm or fault in OF_ANY_PROGRAM)
            )
            for named, address in itertools.product(NAMED, ADDRESSES):
                yield replace(base, named=named, address=address)
            yield from (replace(base, line=LINES[-1], address=address) for address in ADDRESSES)
            for examined in POST_MORTEMS:
                yield from (
                    replace(base, post_mortem=examined, last_exit=one, named=PROGRAM)
                    for one in EXITS
                )
        conflict = replace(BARE, cause=Cause.BIND_CONFLICT, commands=commands, is_fpm=is_fpm)
        for report, address in itertools.product(holders(), ADDRESSES):
            yield replace(conflict, holder=report, address=address, site=site)


ORDINARY = Holder(kind=HolderKind.OTHER, pid=1, command="", user=None)
#: Names that rules are about.
CHECKED = ("/proc/self/fd/2", "/dev/stderr")


class Rule(NamedTuple):
    """A part of a remedy, and when it may be there."""

    part: str  #: a regular expression
    may: Callable[[IncidentFacts], bool]
    is_ban: bool = False  #: it is never there


def has(tool: str) -> Callable[[IncidentFacts], bool]:
    """Return whether the operator has a tool."""
    return lambda facts: tool in facts.commands.tools


def first_holder(facts: IncidentFacts) -> Holder | None:
    """Return the holder that the remedy is about."""
    holders = facts.holder.holders if facts.holder else ()
    return holders[0] if holders else None


def may_kill(facts: IncidentFacts) -> bool:
    """Return whether a kill of the holder lasts: nothing starts it again."""
    holder = first_holder(facts)
    return holder is not None and (holder.supervisor is None or "fpm-listener" in holder.command)


def php_fpm(facts: IncidentFacts) -> bool:
    """Return whether the program is php-fpm, or its address has a php-fpm."""
    return facts.is_fpm or "php-fpm" in (first_holder(facts) or ORDINARY).command


RULES = {
    "supervisorctl": Rule(
        r"(?<!\w)supervisorctl (?!cannot|无)",
        lambda facts: facts.commands.supervisorctl is not None,
    ),
    "the file of supervisorctl": Rule(
        r"(?<!\w)supervisorctl (?:start|restart|update|tail|pid|status)",
        lambda facts: facts.commands.supervisorctl == "supervisorctl",
    ),
    "tail of stderr": Rule(
        r"supervisorctl.* tail .* stderr",
        lambda facts: (
            facts.output.known
            and not facts.output.redirect_stderr
            and not facts.output.stderr_target
        ),
    ),
    "tail of supervisord": Rule(
        r"supervisorctl.* tail", lambda facts: not facts.output.files and facts.output.known
    ),
    "a file that was never opened": Rule(r"a\.log", lambda _: False, is_ban=True),
    "a file": Rule(r"tail /|tail '/", lambda facts: bool(facts.output.files)),
    "a restart of supervisord": Rule(
        r"kill -HUP", lambda facts: facts.commands.supervisorctl is None
    ),
    "php-fpm -t": Rule(
        r"NAME -t",
        lambda facts: facts.is_fpm and facts.line is not None and config_test.reports(facts.line),
    ),
    "namei": Rule(
        r"namei",
        lambda facts: (
            "namei" in facts.commands.tools
            and not facts.is_read_only
            and not str(facts.named).startswith(("/proc/", "/dev/"))
        ),
    ),
    "chmod of a descriptor": Rule(r"ls -ld /(?: /proc| /dev)", lambda _: False, is_ban=True),
    "PHP": Rule(r"(?i)\bphp|memory_limit|pm\.max_children|rlimit_|php\.ini", php_fpm),
    "a kill": Rule(r"kill (?:-QUIT )?-?\d", lambda f: may_kill(f) or uncontrolled(f)),
    "the other supervisor": Rule(
        r"CONTROL",
        lambda facts: (holder := first_holder(facts)) is not None and holder.supervisor is not None,
    ),
    "systemctl": Rule(
        r"systemctl",
        lambda facts: (
            "systemctl" in facts.commands.tools or bool((first_holder(facts) or ORDINARY).unit)
        ),
    ),
    "ss": Rule(r"\bss -", has("ss")),
    "netstat": Rule(r"netstat", has("netstat")),
    "ps": Rule(r"\bps -", has("ps")),
    "ip": Rule(r"\bip address", has("ip")),
    "install": Rule(r"\binstall -d", has("install")),
    "useradd": Rule(r"\buseradd", has("useradd")),
    "adduser": Rule(r"\badduser", has("adduser")),
    "groupadd": Rule(r"\bgroupadd", has("groupadd")),
    "addgroup": Rule(r"\baddgroup", has("addgroup")),
    "dmesg": Rule(
        r"^(?!.*(?:host of this container|宿主机)).*dmesg",
        lambda facts: "syslog" in facts.commands.capabilities,
    ),
    "the process of a socket": Rule(
        r"ss -l\w*p",
        lambda facts: (
            "sys_ptrace" in facts.commands.capabilities
            or not (facts.holder and facts.holder.blind and facts.address)
        ),
    ),
    "a reload": Rule(r"USR2|reload|重新加载", lambda facts: not facts.gave_up),
    "a remount": Rule(
        r"mount -o remount", lambda facts: "sys_admin" in facts.commands.capabilities
    ),
}


def uncontrolled(facts: IncidentFacts) -> bool:
    """Return whether only the end of the supervisor helps."""
    supervisor = (first_holder(facts) or ORDINARY).supervisor
    return supervisor is not None and supervisor.control is None


LANGUAGES = {"English": ENGLISH, "Chinese": CHINESE}


@cache
def remedies(language: str) -> tuple[tuple[IncidentFacts, str], ...]:
    """Return the remedy of each situation."""
    return tuple((facts, LANGUAGES[language].remedy(facts)) for facts in situations())


@cache
def nameless(language: str) -> dict[str, list[IncidentFacts]]:
    """Return the situations by their remedy, without the names in it."""
    found: dict[str, list[IncidentFacts]] = {}
    for facts, remedy in remedies(language):
        text = remedy
        for name in (facts.named, facts.address, PROGRAM, CONF):
            text = text.replace(str(name), "NAME") if name and name not in CHECKED else text
        found.setdefault(text, []).append(facts)
    return found


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_no_remedy_is_impossible(rule: Rule, language: str) -> None:
    """A part of a remedy is there only if the facts allow it."""
    found = [one for one in nameless(language).items() if re.search(rule.part, one[0])]
    wrong = {text: facts for text, each in found for facts in each if not rule.may(facts)}

    assert found or rule.is_ban, "the rule is about no remedy"
    assert wrong == {}


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_command_is_one_line_that_a_shell_can_parse(language: str) -> None:
    """Untrusted paths and names are quoted, so they cannot end a command."""
    for remedy in {remedy for _, remedy in remedies(language)}:
        assert "\n" not in remedy
        for piece in pieces(remedy):
            if piece.is_command:
                words = shlex.split(piece.text)
                assert "rm" not in words
                assert not re.search(r"\. [A-Z]|。", piece.text), "a sentence follows it"
