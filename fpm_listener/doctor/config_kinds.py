"""What a file is, by its content: a part of supervisord's configuration, or of php-fpm's.

The name alone proves nothing: nginx.conf, php.ini, my.cnf, setup.cfg and uwsgi.ini have the same
endings.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple

from fpm_listener.phpfpm.directives import GLOBAL, POOL


class Kind(Enum):
    """What a file is."""

    SUPERVISORD = "supervisord"  #: has [supervisord]
    PROGRAMS = "programs"  #: programs of a supervisord whose main file is another one
    PHP_FPM = "php-fpm"  #: php-fpm.conf, or pools
    TEMPLATE = "template"  #: another program makes one of those of it


class Seen(NamedTuple):
    """What a file is, and which of its sections are complete."""

    kind: Kind
    #: PHP_FPM: the sections whose keys are all here, in small letters
    complete: frozenset[str] = frozenset()
    syntax: str = ""  #: TEMPLATE: what marks it
    #: PHP_FPM: it begins with keys of a pool, so it continues a section of another file
    is_continued: bool = False
    variable: str = ""  #: the first `${X}` in a value that supervisord does not replace


#: Names of files that can be configurations, and the endings of templates of them.
_ENDINGS = re.compile(
    r"(?is).*\.(?:conf|ini|cfg|inc)"
    r"(?:[-_.](?:j2|jinja2?|erb|epp|tpl|tmpl|template|tera|mustache|envsubst|in|dist|example|sample"
    r"|dev|prod|production|development|local|test|docker))?"
)
#: Other names that say it, if the ending is not that of source text.
_NAMES = re.compile(r"(?is).*(?:supervisor|php-?fpm|zz-docker).*")
_NOT = re.compile(
    r"(?is).*(?:\.(?:php\d?|py|sh|bash|md|rst|txt|ya?ml|json|xml|html?|js|ts|go|rs|rb|pp|service|log"
    r"|sock|pid|lock|gz|zip|tar|deb|apk|rpm|so|pyc|png|svg|default|bak|orig|rej|diff|patch|c|h|nix"
    r"|toml|pl|phar|te|mk|socket|timer|lua|po|1|5|8|css|map|csv|dpkg-\w+)|~)"
)
_TEMPLATES = re.compile(
    r"(?is).*[-_.](?:j2|jinja2?|erb|epp|tpl|tmpl|template|tera|mustache|envsubst|in)"
)
_MARKS = (
    (re.compile(r"(?<!%)\{%[-+~]?\s|\{\{[-\s]*[\w.$#/]"), "{{ … }} of Jinja or a similar language"),
    (re.compile(r"<%[=#-]?\s"), "<% … %> of ERB"),
)
_COMMENT = re.compile(r"(?m)^[ \t]*[;#].*$")
_HEADER = re.compile(r"[ \t]*\[([^]\n]{1,200})\]")
_KEY = re.compile(r"[ \t]*([\w.-]{1,60})[ \t]*(?:\[[^]\n]*\][ \t]*)?[=:](.*)", re.ASCII)
_ARRAYS = {"env", "php_value", "php_admin_value", "php_flag", "php_admin_flag"}
_PROGRAMS = ("program:", "eventlistener:", "fcgi-program:", "rpcinterface:")
_SERVERS = {"unix_http_server", "inet_http_server"}
#: Keys of php-fpm that files of other programs have, too.
_COMMON = {
    *("user", "group", "listen", "include", "pid", "prefix", "chroot", "chdir", "error_log"),
    *("log_level", "daemonize", "env"),
}
#: Keys that each pool needs.
_MANDATORY = {"pm", "listen", "pm.max_children"}
_HINT = re.compile(r"(?i)fpm|pool\.d|/zz-[^/]*$|/www[^/]*$")
#: Keys whose values a shell or the program itself expands.
_WITH_DOLLAR = {"command", "environment", "password", "username"}
_DOLLAR = re.compile(r"\$\{\w+\}?|\$\w+", re.ASCII)


def may_be(name: str) -> bool:
    """Return whether the name of a file can be that of a configuration."""
    is_named = _ENDINGS.fullmatch(name) or _NAMES.fullmatch(name)
    return bool(is_named) and not _NOT.fullmatch(name)


def see(path: str, text: str) -> Seen | None:
    """Return what a file is; None = no configuration of supervisord or php-fpm."""
    keys = _keys(text)
    if "supervisord" in keys:
        kind = Kind.SUPERVISORD
    elif any(
        name.startswith(_PROGRAMS)
        or name in _SERVERS
        or (name.startswith("group:") and "programs" in found)
        for name, found in keys.items()
    ):
        kind = Kind.PROGRAMS
    elif _is_php_fpm(path, keys):
        kind = Kind.PHP_FPM
    else:
        return None
    if syntax := _syntax(path, text):
        return Seen(Kind.TEMPLATE, syntax=syntax)
    if kind is Kind.PHP_FPM:
        return Seen(kind, _complete(keys), is_continued=bool(set(keys[""]) - {*GLOBAL, "include"}))
    return Seen(kind, variable=_variable(keys))


def _keys(text: str) -> dict[str, dict[str, str]]:
    """Return keys and values by section; "" before the first section."""
    found: dict[str, dict[str, str]] = {}
    section = found.setdefault("", {})
    for line in text.removeprefix("\ufeff").split("\n"):
        if header := _HEADER.match(line):
            section = found.setdefault(header[1].strip(), {})
        elif entry := _KEY.match(line):
            section.setdefault(entry[1].lower(), entry[2])
    return found


def _is_php_fpm(path: str, keys: dict[str, dict[str, str]]) -> bool:
    known = {*GLOBAL, *POOL, *_ARRAYS, "include"}
    names = {key for section in keys.values() for key in section}
    ours = names & known
    if not ours or len(ours) * 2 < len(names):
        return False
    sections = [name for name in keys if name]
    is_specific = bool(ours - _COMMON)
    if _HINT.search(path):
        return is_specific or (bool(sections) and ours == names)
    pools = [name for name in sections if name.lower() != "global"]
    of_pools = {key for name in pools for key in keys[name]}
    return is_specific and (not pools or bool(of_pools & (known - _COMMON)))


def _complete(keys: dict[str, dict[str, str]]) -> frozenset[str]:
    """Return the sections that no other file is likely to extend.

    The official image has the mandatory keys of [www] in its own files, and users add a file with
    some keys.
    """
    pools = {
        name.lower()
        for name, found in keys.items()
        if name.lower() not in {"", "global"}
        and (set(found) >= _MANDATORY or (name.lower() != "www" and "listen" in found))
    }
    main = {name for name, found in keys.items() if name.lower() == "global" and "include" in found}
    return frozenset({*pools, *(["global"] if main or "include" in keys[""] else [])})


def _syntax(path: str, text: str) -> str:
    """Return what marks a template; empty for other files."""
    text = _COMMENT.sub("", text)
    for mark, name in _MARKS:
        if mark.search(text):
            return name
    name = path.rpartition("/")[2]
    if _TEMPLATES.fullmatch(name):
        if _DOLLAR.search(text):
            return "${…} of envsubst"
        if re.search(r"@\w+@|%%\w+%%|__[A-Z]\w+__", text, re.ASCII):
            return "placeholders"
    return ""


def _variable(keys: dict[str, dict[str, str]]) -> str:
    for section, found in keys.items():
        if dollar := _DOLLAR.search(section):
            return dollar[0]
        for key, value in found.items():
            if key not in _WITH_DOLLAR and (dollar := _DOLLAR.search(value)):
                return dollar[0]
    return ""
