"""Turns the facts of an incident into sentences, with the texts of one language.

The texts are in text_en.py and text_zh.py. They contain `{names}`, which this module fills in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.host.oom_kills import mebibytes
from fpm_listener.incidents import size_texts
from fpm_listener.incidents.checked_names import checked_names
from fpm_listener.incidents.incident_facts import UNEXPLAINED
from fpm_listener.incidents.program_output import NO_LOG, section_of
from fpm_listener.incidents.remedy_values import reading, remount, values
from fpm_listener.incidents.variants import key
from fpm_listener.settings.policy import MOST_A_DAY
from fpm_listener.supervisor.exit_log import ExitReason
from fpm_listener.untrusted_text import quoted
from fpm_listener.vocabulary import Cause, Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from fpm_listener.host.address_holders import Holder
    from fpm_listener.incidents.incident_facts import IncidentFacts
    from fpm_listener.incidents.variants import Variant

#: Seconds between two failures from which on a text gives the interval: supervisord's own delays
#: are shorter.
SLOW_S = 15.0
#: A verb of a text: `is|was`.
_VERB = re.compile(r"(\w+)\|(\w+)")


class Text(NamedTuple):
    """What a language says about one cause, variant or fault."""

    problem: str  #: a clause, without a full stop; its verbs are `present|past`
    remedy: str  #: what to do, with the command, without a full stop
    other: str = ""  #: the remedy for a program that is not php-fpm; empty = the same


@dataclass(frozen=True, kw_only=True)
class Language:
    """All texts of one language."""

    causes: Mapping[Cause | Variant | Fault, Text]
    ruled_out: Mapping[Cause, str]  #: with the `names` that were checked
    defaults: Mapping[str, str]  #: what a text says where a value is not known
    frames: Mapping[str, str]  #: the sentences around a problem, a remedy or a value
    describe_exit: Callable[[ExitReason], str]
    describe_holder: Callable[[Holder], str]
    free_address: Callable[[Sequence[Holder], str], str]  #: the remedy for a known holder

    def sentences(self, facts: IncidentFacts, *, over: bool) -> dict[str, str]:
        """Return the texts of an alert, by annotation; over: the incident is resolved."""
        return {
            "summary": self.past_summary(facts) if over else self.summary(facts),
            "description": self._description(facts)
            + size_texts.described(self.frames, facts.sizes, facts.now_s),
            "remedy": self.frames["nothing"] if over else self.remedy(facts),
        }

    def summary(self, facts: IncidentFacts) -> str:
        """Return one line: the program, its problem, and what happens to it."""
        if facts.recovering:
            return self._past("recovering", facts)
        problem = self._fill(self.causes[key(facts)].problem, facts)
        frame = "gave_up" if facts.gave_up else "runs" if facts.cause in _RUNS else "firing"
        return self.frames[frame].format(name=facts.name.shown, problem=problem)

    def past_summary(self, facts: IncidentFacts) -> str:
        """Return one line about an incident that is resolved."""
        return self._past("resolved", facts)

    def remedy(self, facts: IncidentFacts) -> str:
        """Return what to do, in one line, with the command to type."""
        if facts.recovering and facts.cause is Cause.BIND_CONFLICT:
            return self.frames["nothing_unless"]  # the address is free, and pids are reused
        text = self.causes[key(facts)]
        template = text.remedy if facts.is_fpm else text.other or text.remedy
        if facts.recovering:
            return self.frames["nothing_now"].format(remedy=self._fill(template, facts))
        if facts.gave_up and not template.endswith("{update}"):
            frame = "then_start" if facts.commands.supervisorctl else "then_restart_all"
            template = self.frames[frame].format(remedy=template)
        return self._fill(template, facts)

    def receiver_failure(
        self, name: str, why: str, lasted: str, pending: int, *, over: bool
    ) -> dict[str, str]:
        """Return the texts of an alert about a receiver that fails, by annotation."""
        summary, remedy = (
            ("receiver_works", "nothing") if over else ("receiver_failing", "receiver_test")
        )
        return {
            "summary": self.frames[summary].format(name=name, why=why, lasted=lasted),
            "description": self.frames["pending"].format(count=pending),
            "remedy": self.frames[remedy].format(name=name),
        }

    # -- details -----------------------------------------------------------------------------------

    def _past(self, frame: str, facts: IncidentFacts) -> str:
        """Return the summary of a problem that does not exist any more."""
        problem = self._fill(self.causes[key(facts, over=True)].problem, facts, over=True)
        return self.frames[frame].format(name=facts.name.shown, problem=problem)

    def _description(self, facts: IncidentFacts) -> str:
        if facts.only_workers_fail:
            is_crash = facts.cause is Cause.CRASH_SIGNAL
            frame = "workers_crashed" if is_crash else "workers_failed"
            return self.frames[frame].format(count=facts.live.workers.failures)
        if facts.cause in _NO_FAILURES and not facts.failures:
            return self.frames[facts.cause.value]
        frame = "one_failure" if facts.failures == 1 else "failures"
        parts = [self.frames[frame].format(count=facts.failures)]
        if facts.last_exit:
            exit_text = self.describe_exit(facts.last_exit)
            parts.append(self.frames["last_exit"].format(exit=exit_text))
        elif facts.output.exits_hidden_by:
            setting = facts.output.exits_hidden_by
            fix = _SHOWS_EXITS[setting.partition("=")[0]]
            parts.append(self.frames["no_exit"].format(setting=setting, fix=fix))
        if facts.hidden_output:
            frame = "no_log" if facts.hidden_output == NO_LOG else "hidden"
            parts.append(self.frames[frame].format_map(self._output_parts(facts)))
        if facts.exhausted:
            parts.append(self.frames["worn_out"].format(count=MOST_A_DAY))
        if names := self._ruled_out(facts):
            parts.append(self.frames["ruled_out"].format(names=names))
        return "".join(parts)

    def _output_parts(self, facts: IncidentFacts) -> dict[str, str]:
        """Return the values of the sentence about output that no alert can show."""
        frame = "update" if facts.commands.supervisorctl else "restart"
        command = values(facts)["update"] or ""
        lines = self.frames["and"].join(facts.output.missing_settings)
        section = section_of(facts.name)
        changes = [self.frames["add_lines"].format(lines=lines, section=section)] if lines else []
        if facts.output.subscribed is False:
            changes.append(self.frames["add_events"])
            if frame == "update":  # the section of the listener changes, too
                command = command.removesuffix(f" {facts.name.group}")
        return {
            "target": facts.hidden_output or "",
            "changes": self.frames["and_also"].join(changes),
            "apply": self.frames[frame].format(command=command),
        }

    def _ruled_out(self, facts: IncidentFacts) -> str:
        """Return what was checked and is not the cause; empty = nothing, or the cause is known."""
        if facts.post_mortem is None or facts.cause not in UNEXPLAINED:
            return ""
        checked = checked_names(facts.needs)
        return self.frames["semicolon"].join(
            self.ruled_out[cause].format(names=self._listed(checked.get(cause, ())))
            for cause in facts.post_mortem.ruled_out
            if checked.get(cause, True)  # else nothing of this kind was checked
        )

    def _fill(self, text: str, facts: IncidentFacts, *, over: bool = False) -> str:
        known = {name: value for name, value in values(facts).items() if value}
        text = _VERB.sub(r"\2" if over else r"\1", text)
        return text.format_map({**self.defaults, **known, **self._parts(facts)})

    def _parts(self, facts: IncidentFacts) -> dict[str, str]:
        """Return the parts of a text that need words of the language; empty if not known."""
        holders = facts.holder.holders if facts.holder else ()
        status = facts.last_exit.status if facts.last_exit else None
        optional = {
            "exit": self.describe_exit(facts.last_exit) if facts.last_exit else "",
            "exit_words": None if status is None else f"{status}",
            "worker_exit": self._describe_worker(facts),
            "interval": f"{facts.every_s:.0f}" if facts.every_s >= SLOW_S else "",
            "limit": mebibytes(facts.oom.limit) if facts.oom and facts.oom.limit else "",
            "options": facts.named if facts.fault is Fault.USAGE else "",
            "remount": remount(facts),
            "on_host": "x" if "syslog" not in facts.commands.capabilities else "",
            "restarts": facts.live.exit_loop.restarts,
            "pool": facts.live.workers.pool,
            "left": " ".join(f"-{one}" for one in facts.holder.left) if facts.holder else "",
            "stop_s": f"{facts.live.stopwaitsecs or 0:g}" if facts.live.stopwaitsecs else "",
            "instead": self._listed(facts.post_mortem.program_instead if facts.post_mortem else ()),
        }
        places = dict(facts.site.listen_places)
        frame, value = reading(facts)
        return {
            **self._restart_parts(facts),
            "reload": "" if facts.gave_up else self._reload(facts),
            "read": self.frames[frame].format(value=value),
            "grow": size_texts.grow(self.frames, facts.sizes),
            "lower": size_texts.lower(self.frames, facts.sizes),
            "pools": self._listed(
                f"{one} ({places[one]})" if one in places else one for one in facts.pools
            ),
            "holders": self.frames["semicolon"].join(self.describe_holder(one) for one in holders),
            "free": self.free_address(holders, facts.site.config) if holders else "",
            **{
                name: self.frames[name].format(
                    value=value, span=f"{facts.live.exit_loop.span_s:.0f}"
                )
                if value
                else ""
                for name, value in optional.items()
            },
        }

    def _restart_parts(self, facts: IncidentFacts) -> dict[str, str]:
        """Return the commands that restart a program, or all programs without supervisorctl."""
        known, which = values(facts), "it" if facts.commands.supervisorctl else "all"
        return {
            name: self.frames[f"{name}_{which}"].format(value=known[name])
            for name in ("restart", "update")
        }

    def _reload(self, facts: IncidentFacts) -> str:
        command = facts.commands.control("signal USR2", quoted(facts.name.shown))
        return self.frames["reload_by" if command else "reload"].format(value=command)

    def _describe_worker(self, facts: IncidentFacts) -> str:
        workers = facts.live.workers
        if workers.status is None and workers.signal is None:
            return ""
        return self.describe_exit(ExitReason(status=workers.status, signal=workers.signal))

    def _listed(self, names: Iterable[str]) -> str:
        return self.frames["comma"].join(names)


#: Values with which supervisord's log has exits, by key of [supervisord].
_SHOWS_EXITS = {"loglevel": "loglevel=info", "logfile": "logfile=/tmp/supervisord.log"}
#: Causes about which the description says nothing about failures.
_NO_FAILURES = frozenset(
    {
        Cause.EXIT_LOOP,
        Cause.NOT_ANSWERING,
        Cause.OPCACHE_FULL,
        Cause.SATURATED,
        Cause.STOP_TIMEOUT,
    }
)
#: Causes with which the program itself does not fail.
_RUNS = _NO_FAILURES | {Cause.WORKER_FAILURE}
