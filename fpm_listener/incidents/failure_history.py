"""The last failures of one process, and what explains them.

Laws:
1. The order in which event, exit status, log lines and post-mortem arrive does not matter.
2. A signal refutes the log lines of the run: php-fpm itself exits with a status.
3. A post-mortem explains only an exit that the log does not explain.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from fpm_listener.host.masking import masked_line
from fpm_listener.incidents import output_messages, post_mortem
from fpm_listener.incidents.effects import ExitExamined
from fpm_listener.incidents.evidence import Evidence
from fpm_listener.incidents.incident import CAUSES, RANK
from fpm_listener.incidents.output_messages import USAGE, FailedRun
from fpm_listener.incidents.restart_loops import LoopDetector
from fpm_listener.vocabulary import Cause, Fault, Tier

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from fpm_listener.incidents.post_mortem import PostMortem
    from fpm_listener.incidents.process_news import ProcessExit, ProcessNews
    from fpm_listener.phpfpm.config import FpmSite
    from fpm_listener.phpfpm.log_facts import LogFact
    from fpm_listener.settings.policy import Policy

#: Causes that tell how a process ended, not why.
SYMPTOMS = frozenset({None, Cause.CRASH_SIGNAL})

#: Problems of runs that have ended; all other problems are of the run of now.
_OF_ENDED_RUNS = {Cause.EXIT_LOOP, Cause.STOP_TIMEOUT}

#: Seconds in which the events of several failures can come together.
TOGETHER_S = 10.0


class FailureHistory:
    """Its IncidentTracker owns it."""

    def __init__(self, policy: Policy) -> None:
        self.loops = LoopDetector(policy.loops)
        self.exits: deque[ProcessExit] = deque(maxlen=policy.loops[Tier.FAST].threshold)
        self.explanations: tuple[Cause | None, ...] = ()  #: see the function
        self.evidence = Evidence(policy.evidence_lines)
        self.address: str | None = None  #: that the last failed start could not use
        self.subject: str | None = None  #: the path, user or group that the cause is about
        self.fault: Fault | None = None  #: what exactly is wrong with the subject
        self.line: str | None = None  #: the line that shows the cause
        self.post_mortem: PostMortem | None = None  #: of the last exit that was examined
        self._is_fpm = False
        self._refused: str | None = None
        self._explained: ProcessExit | None = None  # the last failure with an explanation
        self._output: tuple[str, ...] = ()  # of the last failure
        self._shown: list[LogFact] = []  # what it shows

    def configure(self, site: FpmSite | None) -> None:
        """Set what the configuration contains; None = the program is not php-fpm."""
        self._is_fpm, self._refused = site is not None, site.refused if site else None

    def take(self, news: ProcessNews) -> bool:
        """Learn what is new; return whether it explains or adds a failure."""
        is_changed, lines = False, list[str]()
        if news.failure is not None:
            self.exits.append(news.failure)
            self.loops.add(news.failure.at_s)
            self._output, self._shown = (), []
            is_changed = True
        is_changed |= self._learn_exits(news, lines)
        is_changed |= self._retract(news)
        for fact, run in news.facts:
            lines.append(fact.line)
            is_changed |= self._explain([fact], run)
        if news.output is not None:
            self.evidence.set_output(news.output)
            self._output = news.output
        is_new = news.failure or news.exits or news.output is not None
        if is_new and (shown := self._read_output()):
            self._shown = shown
            lines += [fact.line for fact in shown]
            is_changed |= self._explain(shown)
        if isinstance(news.answer, ExitExamined):
            proof = self._examine(news.answer)
            lines += proof
            is_changed |= bool(proof)
        if lines:
            self.evidence.add(lines)
        self._set_explanations()
        return is_changed

    def _learn_exits(self, news: ProcessNews, lines: list[str]) -> bool:
        """Learn how runs ended, and add lines about it; return whether that explains a failure."""
        is_changed = False
        for ended, note in news.exits:
            if note is None:
                continue
            if not ended.stopped:
                lines.append(note.line)
            ended.reason = note.reason
            if ended.failed and note.reason.signal is not None:
                ended.cause = Cause.CRASH_SIGNAL
                is_changed = True
        return is_changed

    def _set_explanations(self) -> None:
        """Explain the last failures.

        The lines of several runs can come together, and before the events: then one run has all of
        them. So failures of the same kind that come soon after it do not refute its cause.
        """
        found = explanations(self.exits)
        explained = [ended for ended in self.exits if ended.cause is not None]
        if explained:
            self._explained = explained[-1]
        elif (
            self._explained
            and self._explained.cause not in SYMPTOMS
            and all(_is_alike(self._explained, ended) for ended in self.exits)
        ):
            found = (*found, self._explained.cause)
        self.explanations = found

    def _read_output(self) -> list[LogFact]:
        """Return what the output of the last failure shows. The exit status decides, too."""
        last = self.exits[-1] if self.exits else None
        if last is None or (self._is_fpm and not last.never_ran):
            return []
        if not self._output and (last.reason is None or last.reason.status != USAGE):
            return []
        run = FailedRun(last.reason, last.run_s, self._is_fpm, self._refused)
        return output_messages.explain(run, self._output)

    def _retract(self, news: ProcessNews) -> bool:
        """Forget what the output has shown if the exit status, now known, refutes it."""
        if not news.exits or not self._shown:
            return False
        before, self._shown = self._shown, self._read_output()
        refuted = {masked_line(fact.line) for fact in before if fact not in self._shown}
        last = self.exits[-1]
        if self.line not in refuted or last.cause is Cause.CRASH_SIGNAL:
            return False
        last.cause = last.explained_by = None
        self.subject = self.fault = self.line = None
        return True

    def _explain(self, facts: Sequence[LogFact], run: ProcessExit | None = None) -> bool:
        """Explain a failure with the log lines of its run; None = the last failure."""
        last = run or (self.exits[-1] if self.exits else None)
        found = [(CAUSES[fact.kind], fact) for fact in facts if fact.kind in CAUSES]
        if not found or last is None or last.cause is Cause.CRASH_SIGNAL:
            return False
        causes = [last.cause, *(cause for cause, _ in found)]
        last.cause = min((cause for cause in causes if cause), key=RANK.__getitem__)
        for cause, fact in found:
            self.address = fact.address or self.address
            # php-fpm reports a mistake first, and then that it does not start because of it.
            is_known = fact.named is not None and fact.named == self.subject and self.fault
            is_detailed = bool(fact.named or fact.fault) and not is_known
            if cause is last.cause and (is_detailed or last.explained_by is not cause):
                self.subject, self.fault, last.explained_by = fact.named, fact.fault, cause
                self.line = masked_line(fact.line)
        self._explained = last
        return True

    def _examine(self, answer: ExitExamined) -> list[str]:
        """Explain a failure with what the machine shows; return the line that proves it."""
        self.post_mortem = answer.post_mortem
        ended = next((one for one in self.exits if one.at_s == answer.exited_at_s), None)
        if ended is None:
            return []
        is_long = ended.run_s is not None and ended.run_s >= post_mortem.SHORT_LIFE_S
        has_worked = is_long or (self._is_fpm and not ended.never_ran)
        proof = post_mortem.find(answer.post_mortem, ended.reason, has_worked=has_worked)
        if proof is None:
            return []
        # The reason of supervisord's child names the program, the machine what is wrong with it.
        is_finer = proof[:2] == (ended.cause, self.subject)
        if ended.cause not in SYMPTOMS and not is_finer:
            return []
        ended.cause, self.subject, self.fault = proof.cause, proof.named, proof.fault
        self.line, ended.explained_by = proof.evidence[0], proof.cause
        if proof.cause is Cause.BIND_CONFLICT:
            self.address, self.subject = proof.named, None
        return list(proof.evidence)

    @property
    def last_result(self) -> tuple[bool | None, bool]:
        """Return whether the last failed run exited with 0, and whether its failure is explained.

        None: the exit statuses of the last failures are unknown.
        """
        known = [ended.reason for ended in self.exits if ended.reason is not None]
        is_success = known[-1].status == 0 if known else None
        return is_success, bool(self.exits) and self.exits[-1].cause is not None

    def begin_incident(self, problems: Collection[Cause], *, gave_up: bool) -> None:
        """Forget the evidence of ended runs if the incident is about the run of now."""
        is_failure = gave_up or bool(self.loops.tiers)
        if not is_failure and _OF_ENDED_RUNS.isdisjoint(problems):
            self.evidence = Evidence(self.evidence.most)

    def clear(self) -> None:
        """Forget everything: the incident is over, or the operator has stopped the program."""
        self.address = self.subject = self.fault = self.line = self.post_mortem = None
        self.explanations = self._output = ()
        self._explained = None
        self._shown = []
        self.loops.clear()
        self.exits.clear()
        self.evidence = Evidence(self.evidence.most)

    def reconfigure(self, policy: Policy) -> None:
        """Use new settings; detected loops stay."""
        self.loops = LoopDetector(policy.loops, self.loops.all_failures, self.loops.tiers)
        self.evidence.limit(policy.evidence_lines)
        self.exits = deque(self.exits, maxlen=policy.loops[Tier.FAST].threshold)


def explanations(exits: Sequence[ProcessExit]) -> tuple[Cause | None, ...]:
    """Return the causes of failures that can be the cause of an incident.

    Deaths by a signal do not explain a later failure with an exit status. While that status is not
    known yet, only one death does not explain it.
    """
    causes = tuple(ended.cause for ended in exits)
    crashes = causes.count(Cause.CRASH_SIGNAL)
    if not crashes or causes[-1] is Cause.CRASH_SIGNAL:
        return causes
    last = exits[-1].reason
    if crashes == 1 or (last is not None and last.status is not None):
        return tuple(cause for cause in causes if cause is not Cause.CRASH_SIGNAL)
    return causes


def _is_alike(explained: ProcessExit, ended: ProcessExit) -> bool:
    """Return whether a failure that nothing explains can have the cause of the one before."""
    is_soon = ended.at_s - explained.at_s <= TOGETHER_S
    is_other = None not in {explained.reason, ended.reason} and explained.reason != ended.reason
    return ended.never_ran and is_soon and not is_other
