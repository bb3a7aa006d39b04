"""The lines that the alerts of one incident show.

Laws:
1. A line that states a fact (a cause, an exit, what the machine shows) is never displaced by other
   output of the program.
2. A line of the evidence replaces an older line with the same text. So the line that shows the
   cause stays, even if a restart loop repeats other lines many times.
3. Output is that of the last run that was read; the output of an earlier run is forgotten.
4. The evidence has no secret and no control character: `output_lines` makes each line readable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.host.output_lines import choose, is_of_program, readable, without_time

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Lines that an alert shows, if the settings do not say otherwise.
EVIDENCE_LINES = 8


class Evidence:
    """The lines that the alerts of one incident show."""

    def __init__(self, most: int = EVIDENCE_LINES) -> None:
        self.most = most  #: lines that are shown
        self.facts: list[str] = []  #: lines that state facts, oldest first
        self.output: list[str] = []  #: what the last run has written, oldest first
        self.lines: list[str] = []  #: both, to show, oldest first
        self._added: list[str] = []  # the last facts, as they were given

    def _lines(self) -> list[str]:
        facts = self.facts[-self.most :] if self.most else []
        known = set(map(without_time, facts))
        fresh = [line for line in self.output if without_time(line) not in known]
        chosen = set(choose(fresh, self.most - len(facts)))
        if not chosen:
            return facts
        return self._in_order(facts, chosen)

    def _in_order(self, facts: list[str], chosen: set[str]) -> list[str]:
        """Return facts and other output in the order of the output."""
        by_text = {without_time(line): line for line in facts}
        run: list[str] = []  # the output of the run, with its facts
        for line in self.output:
            fact = by_text.pop(without_time(line), None)
            if fact is not None or line in chosen:
                run.append(fact if fact is not None else line)
        left = [line for line in facts if without_time(line) in by_text]
        later = [line for line in left if not is_of_program(line)]
        return [*(line for line in left if line not in later), *run, *later]

    def add(self, lines: Iterable[str]) -> None:
        """Add facts; each replaces an older line that differs only in its time."""
        added = [*lines]
        if added and added == self._added:  # each review of an incident adds its problems again
            return
        self._added = added
        kept = {without_time(line): line for line in self.facts}
        for line in readable(added):
            text = without_time(line)
            kept.pop(text, None)
            kept[text] = line
        self.facts = list(kept.values())[-self.most :] if self.most else []
        self.lines = self._lines()

    def limit(self, most: int) -> None:
        """Show at most so many lines from now on."""
        self.most = most
        self.output = self.output if most else []
        self.add(())

    def set_output(self, lines: Iterable[str]) -> None:
        """Replace the output by that of another run."""
        self.output = readable(choose([*lines], 2 * self.most)) if self.most else []
        self.lines = self._lines()
