"""Where the output of a program goes decides which sources and hints an alert can have."""

from dataclasses import replace

import pytest

from fpm_listener.incidents.program_output import UNKNOWN, ProgramOutput, section_of
from fpm_listener.supervisor.process import ProcessName


def test_all_files_with_stderr_last() -> None:
    """The file of the program itself comes first; each file once."""
    output = ProgramOutput(
        stdout_file="/o", stderr_file="/e", own_logs=("/fpm.log", "/e"), known=True
    )
    assert output.files == ("/fpm.log", "/e", "/o")
    assert output.hidden_target is None


@pytest.mark.parametrize(
    ("output", "hidden", "setting"),
    [
        (ProgramOutput(stderr_target="/dev/stderr", known=True), "/dev/stderr", "stderr"),
        (ProgramOutput(stderr_target="NONE", stdout_file="/o", known=True), "NONE", "stderr"),
        (
            ProgramOutput(redirect_stderr=True, stdout_target="/dev/stdout", known=True),
            "/dev/stdout",
            "stdout",
        ),
        (
            ProgramOutput(stderr_target="/dev/stderr", stderr_events=True, known=True),
            None,
            None,
        ),
        (ProgramOutput(redirect_stderr=True, stdout_file="/o", known=True), None, "stdout"),
        (UNKNOWN, None, "stderr"),
    ],
)
def test_hidden_output(output: ProgramOutput, hidden: str | None, setting: str | None) -> None:
    """Neither a file nor events show stderr: where it goes, and the line that changes this."""
    assert output.hidden_target == hidden
    assert output.missing_settings == ([f"{setting}_events_enabled=true"] if setting else [])


def test_a_pipe_that_is_rotated() -> None:
    """supervisord fails before it sends a line, whether the events are enabled or not."""
    output = ProgramOutput(
        redirect_stderr=True, stdout_target="/dev/stdout", rotates_pipe=True, known=True
    )
    events, size = "stdout_events_enabled=true", "stdout_logfile_maxbytes=0"
    assert output.missing_settings == [events, size]
    enabled = replace(output, stdout_events=True)
    assert (enabled.missing_settings, enabled.hidden_target) == ([size], "/dev/stdout")
    sent = replace(enabled, rotates_pipe=False)
    assert (sent.missing_settings, sent.hidden_target) == ([], None)


def test_events_that_the_listener_does_not_get() -> None:
    """A subscription that is unknown is not claimed to be missing."""
    output = ProgramOutput(stderr_target="NONE", stderr_events=True, known=True)
    assert output.hidden_target is None
    assert replace(output, subscribed=False).hidden_target == "NONE"


@pytest.mark.parametrize(
    ("name", "section"),
    [
        ("php-fpm:php-fpm", "program:php-fpm"),
        ("queue:queue_00", "program:queue"),
        ("site:job_2024", "program:job_2024"),
        ("x_1:x_1", "program:x_1"),
    ],
)
def test_the_section_of_a_process(name: str, section: str) -> None:
    """numprocs adds a number to the name of the program."""
    assert section_of(ProcessName(*name.split(":"))) == section
