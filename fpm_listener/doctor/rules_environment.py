"""Rules on `environment=`, which supervisord gives to programs.

Law: no text contains a value.
Each consequence was measured with supervisor 4.3.0.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fpm_listener.doctor import environment_values
from fpm_listener.doctor.checked_config import whole
from fpm_listener.doctor.rule import match, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm_listener.doctor.checked_config import CheckedConfig, Section
    from fpm_listener.doctor.environment_values import Variable
    from fpm_listener.doctor.rule import Match

_SECTIONS = ("supervisord", "program:", "eventlistener:", "fcgi-program:")
_SECRET = re.compile(
    r"(?:.*_)?(?:PASSWORD|PASSWD|PASSPHRASE|PASS|PWD|SECRET|TOKEN|CREDENTIALS?"
    r"|(?:API|APP|SECRET|ACCESS|PRIVATE|ENCRYPTION|AUTH|SIGNING|MASTER)_?KEY)",
    re.IGNORECASE | re.ASCII,
)
#: The working directory of a shell; the password that FPM126 asks for.
_NO_SECRETS = {"PWD", "OLDPWD", "SUPERVISOR_PASSWORD"}
#: Values that protect nothing: other variables, paths, switches, small numbers, references.
_HARMLESS = re.compile(
    r"|.*%\(.*|.*\$[{(A-Z].*|[~./].*|file:.*|true|false|yes|no|on|off|none|null|\d{1,3}|<.*>|\{\{.*",
    re.IGNORECASE | re.ASCII | re.DOTALL,
)
#: A URL with a password.
_LOGIN = re.compile(r"\w{2,20}://[^/@\s:%$]{0,100}:[^/@\s%$]{1,100}@", re.ASCII)
#: A variable of a shell. A `$` in a password is none.
_SHELL_VARIABLE = re.compile(
    r"\$(?:\{(\w{1,80})[^{}]{0,80}\}|(PATH|HOME|USER|PWD|[A-Z][A-Z0-9]{0,40}_[A-Z0-9_]{1,40})\b)",
    re.ASCII,
)


def _variables(config: CheckedConfig) -> Iterator[tuple[Section, list[Variable]]]:
    """Return the variables of each section that supervisor accepts."""
    for section in config.all_sections:
        line = section.lines.get("environment")
        if line is not None and section.name.startswith(_SECTIONS):
            yield section, environment_values.parse(line.value) or []


@rule("FPM166", whole)
def secret(config: CheckedConfig) -> Iterator[Match]:
    """Files of configurations are in repositories and images."""
    for section, variables in _variables(config):
        names = [one.name for one in variables if _is_secret(one)]
        if names:
            yield match(section, "environment", {}, names=_listed(names), name=names[0])


def _is_secret(variable: Variable) -> bool:
    name, value = variable.name, variable.value
    is_named = _SECRET.fullmatch(name) and name not in _NO_SECRETS
    if environment_values.EXPANDED in value:
        return False
    return bool(_LOGIN.match(value) or (is_named and not _HARMLESS.fullmatch(value)))


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if names[3:] else ""
    return ", ".join(names[:3]) + more


@rule("FPM167", whole)
def cut_value(config: CheckedConfig) -> Iterator[Match]:
    """supervisor splits the text into words, and each sign is a word."""
    for section, variables in _variables(config):
        for one in variables:
            if one.ends_at and not _SHELL_VARIABLE.search(section.lines["environment"].value):
                is_sign = len(one.ends_at) == 1 and not one.ends_at.isalnum()
                sign = one.ends_at if is_sign else "a blank or a sign"
                yield match(section, "environment", {}, name=one.name, sign=sign)


@rule("FPM168", whole)
def shell_variable(config: CheckedConfig) -> Iterator[Match]:
    """supervisor replaces only its own expansions."""
    for section in config.all_sections:
        line = section.lines.get("environment")
        found = line and _SHELL_VARIABLE.search(line.value)
        if found and section.name.startswith(_SECTIONS):
            name = found[1] or found[2]
            yield match(section, "environment", {}, variable=f"${name}", name=name)


RULES = (secret, cut_value, shell_variable)
