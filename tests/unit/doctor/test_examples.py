"""The examples of the rules: `before` has exactly this mistake, and `after` has none.

Each example becomes a whole configuration: its keys replace those of the sound one. A key that only
the other example has is missing in it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from fpm_listener.doctor import suppressions
from fpm_listener.doctor.rules import examine
from tests.fakes import FakeHost
from tests.unit.doctor.checked_configs import CONF, FPM, FPM_CONF, SUPERVISORD, TEXTS, checkup, gone

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: A configuration: sections and their lines. A section can occur twice.
Sections = list[tuple[str, list[str]]]

#: The sound configuration; its listener gets the output of both channels.
SOUND = SUPERVISORD.replace("PROCESS_LOG_STDERR", "PROCESS_LOG")
#: Sections of supervisord, apart from those with a colon.
SUPERVISORS = {"supervisord", "unix_http_server", "inet_http_server", "supervisorctl", "include"}
#: Sections from which a new one gets the keys that an example does not show.
MODELS = {
    "program": "program:php-fpm",
    "fcgi-program": "program:php-fpm",
    "eventlistener": "eventlistener:fpm-listener",
}

#: Hosts on which the example is a mistake.
HOSTS = {
    "FPM023": gone("/usr/sbin/php-fpm7.4"),
    "FPM030": gone("/srv/old"),
    "FPM031": FakeHost(unreadable=frozenset({"/etc/php-fpm.conf"})),
    "FPM033": FakeHost(unknown=frozenset({"nginx"})),
    "FPM034": FakeHost(unwritable=frozenset({"/var/log/php-fpm.log"})),
    "FPM044": gone("/run/php"),
    "FPM049": FakeHost(unknown=frozenset({"nginx"})),
    "FPM057": FakeHost(memory=512 << 20),
    "FPM058": FakeHost(memory=64 << 30),
    "FPM061": gone("/var/log/php"),
    "FPM063": gone("/run/php"),
    "FPM070": FakeHost(container=True),
    "FPM082": gone("/srv/old"),
    "FPM083": gone("/var/log/php"),
    "FPM085": FakeHost(unknown=frozenset({"nginx"})),
    "FPM103": FakeHost(container=True),
    "FPM113": gone("/var/log/php"),
}
#: Other rules that find the same mistake. `check` itself takes no init script for php-fpm.
ALSO = {
    "FPM004": {"FPM003", "FPM028"},
    "FPM015": {"FPM010"},
    "FPM041": {"FPM064"},
    "FPM170": {"FPM120"},
    "FPM181": {"FPM014"},
}
#: Rules that fire because the sound configuration has a line that the examples do not show.
BESIDE = {"FPM019": {"FPM161"}}
#: Rules whose mistake is in files or answers that `check` reads before the rules run.
READ_BEFORE = {"FPM027", "FPM116", "FPM121"}
EXAMPLES = [name for name, text in TEXTS.items() if text.before and "." not in name]


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in READ_BEFORE])
def test_an_example_shows_its_mistake_only(name: str) -> None:
    """The rule fires before, and nothing fires after."""
    before, after = sections(TEXTS[name].before), sections(TEXTS[name].after)

    beside = BESIDE.get(name, set())
    assert fired(name, completed(before, after)) - ALSO.get(name, set()) - beside == {name}
    assert fired(name, completed(after, before)) == beside


def test_which_rules_have_an_example() -> None:
    """A rule without one is about the machine, or about what runs."""
    rules = {name for name in TEXTS if "." not in name}
    without = {"FPM042", "FPM064", "FPM115", "FPM117", "FPM127"}

    assert rules - set(EXAMPLES) == without
    assert set(EXAMPLES) >= {*READ_BEFORE, *HOSTS, *ALSO}
    for name in EXAMPLES:
        assert TEXTS[name].before != TEXTS[name].after
        assert TEXTS[name].after


def fired(name: str, text: Sections) -> set[str]:
    """Return the rules that find something in a configuration."""
    supervisord = [one for one in text if is_supervisors(one[0])]
    files = {
        CONF: written(supervisord),
        FPM_CONF: written([one for one in text if one not in supervisord]),
    }
    config = checkup(
        ((SUPERVISORD, files[CONF]),),
        ((FPM, files[FPM_CONF]),),
        machine=HOSTS.get(name),
        known=dict(known(dict(supervisord))),
    )
    return {one.id for one in suppressions.apply(examine(config, TEXTS), files, TEXTS)}


def known(text: Mapping[str, list[str]]) -> Iterator[tuple[str, Any]]:
    """Yield what supervisor's own parser says about its sections."""
    values = {name: dict(map(split, lines)) for name, lines in text.items()}
    own = values["supervisord"]
    yield "nodaemon", own.get("nodaemon") == "true"
    yield from ((key, own[key]) for key in ("loglevel", "logfile") if key in own)
    servers = []
    for name, server in values.items():
        if name == "unix_http_server":
            hashed = server.get("password", "").startswith("{SHA}")
            url = f"unix://{server['file']}"
            servers.append(
                {"family": "unix", "url": url, "section": name, "hashed": hashed, **server}
            )
        elif name == "inet_http_server":
            host, _, port = server["port"].partition(":")
            servers.append({"family": "inet", "section": name, "host": host, "port": int(port)})
    yield "servers", servers
    texts = "".join(line for lines in text.values() for line in lines).replace("%%", "")
    if re.search(r"%(?!\()", texts):
        yield "refused", "Format string is badly formatted"


def completed(example: Sections, other: Sections) -> Sections:
    """Return the sound configuration with the lines of an example."""
    found = sections(SOUND) + sections(FPM)
    shown, hidden = dict(example), dict(other)
    found = [one for one in found if one[0] in shown or one[0] not in hidden]
    for number, (name, lines) in enumerate(example):
        removed = {key_of(line) for line in [*lines, *hidden.get(name, [])]}
        at = next((n for n, one in enumerate(found) if one[0] == name), None)
        if at is None:
            found.append((name, [*model(name, removed), *lines]))
        elif name in {one for one, _ in example[:number]}:
            found.append((name, lines))
        else:
            rest = [line for line in found[at][1] if key_of(line) not in removed]
            found[at] = (name, [*rest, *lines])
    return found


def model(name: str, removed: set[str]) -> list[str]:
    """Return the keys of a new section that an example does not show."""
    kind, colon, _ = name.partition(":")
    source = MODELS.get(kind, "" if colon or name in SUPERVISORS else "www")
    lines = dict(sections(SOUND) + sections(FPM)).get(source, [])
    # Two programs with one log are a mistake (FPM160).
    return [line for line in lines if key_of(line) not in {*removed, "stderr_logfile"}]


def sections(text: str) -> Sections:
    """Return the sections of a text."""
    parts = re.findall(r"^\[([^\]]+)\]((?:\n(?!\[).+)*)", text, re.MULTILINE)
    return [(name, lines.strip().split("\n") if lines.strip() else []) for name, lines in parts]


def written(text: Sections) -> str:
    """Return sections as the text of a file."""
    return "".join("\n".join([f"[{name}]", *lines, ""]) for name, lines in text)


def split(line: str) -> tuple[str, str]:
    """Return key and value of a line."""
    key, _, value = line.partition("=")
    return key.strip(), value.strip()


def key_of(line: str) -> str:
    """Return the key of a line; a comment has none."""
    return "" if line.startswith(";") else split(line)[0]


def is_supervisors(name: str) -> bool:
    """Return whether a section belongs to supervisord, not to php-fpm."""
    return ":" in name or name in SUPERVISORS
