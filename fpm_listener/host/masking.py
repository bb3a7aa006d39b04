"""Command lines and log lines of other processes without the secrets in them.

Laws:
1. In doubt a word is masked.
2. The parts that identify the program stay: its name, paths, user names, hosts and ports.
"""

from __future__ import annotations

import re
from functools import cache

TYPE_CHECKING = False  # `typing` itself would cost the guard milliseconds
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

#: Replaces a secret.
MASK = "***"
#: Parts of a name with a secret value, for example in `db.admin-password` or `apiKey`.
_SECRET_WORDS = frozenset(
    (
        *("pass", "password", "passwd", "passphrase", "passwort", "passin", "passout", "pwd", "pw"),
        *("secret", "secrets", "token", "tokens", "auth", "authorization", "authtoken", "apikey"),
        *("credential", "credentials", "cookie", "cookies", "jwt", "otp", "signature", "sig"),
        *("phpsessid", "jsessionid", "sessid", "sessionid"),
    ),
)
_SECRET_ENDS = ("password", "passwd", "passphrase", "secret", "token", "pwd", "apikey")
_BEFORE_KEY = frozenset(
    (
        *("api", "access", "private", "secret", "auth", "account", "shared", "app", "encryption"),
        *("encrypt", "signing", "webhook", "license", "licence", "master", "session", "hmac"),
    )
)
#: A name with such an end has no secret value, but its place: `--password-file=/run/secrets/x`.
_HARMLESS_ENDS = frozenset(("file", "path", "dir", "url", "uri", "type", "env", "name", "id"))
#: Programs whose `-p` has the secret in the same word; a separate word is a database.
_ATTACHED_ONLY = frozenset(
    (
        *("mysql", "mysqldump", "mysqladmin", "mysqlcheck", "mysqlimport", "mytop"),
        *("mariadb", "mariadb-dump", "mariadb-admin", "7z", "7za"),
    ),
)
_OPTIONS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(_ATTACHED_ONLY, ("-p",)),
    **dict.fromkeys(("curl",), ("-u", "-U", "--user", "--proxy-user")),
    **dict.fromkeys(("sshpass", "mongo", "mongosh", "mongodump", "mongorestore"), ("-p",)),
    **dict.fromkeys(("redis-cli", "redis-benchmark"), ("-a",)),
    **dict.fromkeys(("ldapsearch", "ldapadd", "ldapmodify", "ldapdelete"), ("-w",)),
    **dict.fromkeys(("mosquitto_pub", "mosquitto_sub", "ipmitool", "zip", "unzip"), ("-P",)),
    **dict.fromkeys(("smbclient", "rpcclient"), ("-U",)),
    **dict.fromkeys(("snmpget", "snmpwalk", "snmpset"), ("-c", "-A", "-X")),
    "lftp": ("-u",),
    "openssl": ("-k", "-K"),
    "login": ("-p",),  # docker login -p
}
_SCHEMES = frozenset(("bearer", "basic", "digest", "token"))

_TOKEN = re.compile(r"""\s+|(?:[^\s'"]|'[^']*(?:'|\Z)|"[^"]*(?:"|\Z))+""")
_ASSIGNED = re.compile(r"""(['"]?(?:--?|/)?([A-Za-z][\w.-]*)(?:=|:(?!//)))(.*)""", re.DOTALL)
_OPTION = re.compile(r"--?([A-Za-z][\w.-]*)")
#: It begins where a word begins, so that the costs grow with the length of the text only.
_NAME = re.compile(r"""(?<![\w.-])[.-]*(\w[\w.-]*)(?:\\*["'])?(?:\]?\s*=>|\s*[=:](?!//))\s*""")
_VALUE = re.compile(r"""\\+"[^"\\]*\\+"|"[^"]*"|'[^']*'|[^&\s,;'"}]+""")
_USERINFO = re.compile(r"(?<![A-Za-z0-9+.-])([A-Za-z0-9+.-]+://)[^\s/?#'\"]*@")
_BEARER = re.compile(r"\b((?:bearer|basic)\s+)[\w.~+/=-]{6,}", re.IGNORECASE)
_KNOWN = re.compile(
    r"\b(?:gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|sk[-_]|AKIA|AIza|SG\.|whsec_|eyJ)[\w.-]{12,}"
    r"|\bnpm_[A-Za-z0-9]{30,}"  # npm_config_cache is a name
    r"|(?<=hooks\.slack\.com/services/)\S+|(?<=/api/webhooks/)\S+|(?<=api\.telegram\.org/bot)\S+"
)
#: Headers whose whole value is secret.
_HEADER = re.compile(
    r"""(?<![\w-])((?:proxy-)?authorization|(?:set-)?cookie)["']?\s*[=:]\s*([^"']+)""",
    re.IGNORECASE,
)
#: Of Go's driver for MySQL: `root:SECRET@tcp(db:3306)/app`. The lengths bound the costs.
_DSN = re.compile(r"(?<![\w.-])([\w.-]{1,64}:)[^\s'\"]{1,128}?@(?=(?:tcp6?|unix)\()")
_SQL = re.compile(
    r"""\b(identified\s+(?:with\s+\S{1,64}\s+)?(?:by|as)\s+(?:password\s+)?|password\s+(?=['"]))"""
    r"""("[^"]*"?|'[^']*'?|[^\s;'"]+)""",
    re.IGNORECASE,
)
#: Names of secrets before their values: `define('DB_PASSWORD', 'x')`, `<password>x</password>`.
_NAMED = (
    re.compile(r"""(\(\s*["'](?P<name>\w[\w.-]{0,64})["']\s*,\s*)(?:"[^"]*"?|'[^']*'?)"""),
    re.compile(r"(<(?:[\w.-]{1,64}:)?(?P<name>\w[\w.-]{0,64})(?:\s[^<>]{0,128})?>)[^<]+(?=</)"),
)
#: Arguments in a stack trace of PHP (zend.exception_ignore_args is off without a php.ini).
_FRAME = re.compile(r"#[0-9]+ [^ ]+\([0-9]+\): ")
_TEXT = re.compile(r"'[^']*(?:'|$)")
#: A line of a key in a PEM file.
_KEY_LINE = re.compile(r"\s*[A-Za-z0-9+/]{60,76}={0,2}\s*")
#: Characters of a path.
_LONGEST_PATH = 512
#: MySQL's words for whether a password was given.
_GIVEN = frozenset(("YES)", "NO)"))
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
#: Words of the forms in which capital letters do not count.
_FORM_WORDS = ("authorization", "basic", "bearer", "cookie", "identified", "password")


def masked(words: Sequence[str]) -> str:
    """Return the command line of these words with its secrets masked.

    A single word is a title that the program has set, or a command of a shell.
    """
    if len(words) == 1:
        return masked_text(words[0])
    parts: list[str] = []
    before = ""
    for word, shown in zip(words, _tokens(words), strict=True):
        # Of `sh -c "COMMAND"` the word is a command line itself.
        is_command = re.fullmatch(r"-\w*c", before) and " " in word
        parts.append(masked_text(word) if is_command else shown)
        before = word
    return " ".join(parts)


def masked_text(text: str) -> str:
    """Return a command line in one text, such as that of a shell, with its secrets masked."""
    pieces = _TOKEN.findall(text)
    shown = _tokens(piece for piece in pieces if not piece.isspace())
    return "".join(piece if piece.isspace() else next(shown) for piece in pieces)


def masked_line(line: str) -> str:
    """Return a line of a log with its secrets masked."""
    if _KEY_LINE.fullmatch(line):
        return MASK
    return _masked(line) if _can_have_secret(line) else line


@cache
def _signs() -> re.Pattern[str]:
    """Return what a line with a secret contains, in lower case, with a hyphen before each new word.

    It is the end of a name, a program, or a form. Compiled late: the guard masks no lines.
    """
    names = "|".join(sorted((*_SECRET_WORDS, *_SECRET_ENDS, "key", "keys")))
    return re.compile(
        rf"(?:{names})(?![a-z])|(?:{'|'.join(sorted(_OPTIONS))})(?!\S)"
        r"|[#@]|gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|sk[-_]|akia|aiza|sg\.|whsec_|ey-?j"
        r"|npm_|hooks\.slack|/webhooks/|telegram"
    )


def _can_have_secret(line: str) -> bool:
    """Return whether a part of a line looks like a secret. It costs a tenth of masking."""
    if not line.isascii() or _signs().search(_CAMEL.sub("-", line).lower()):
        return True
    text = line.lower()
    return any(word in text for word in _FORM_WORDS)


def _masked(line: str) -> str:
    line = _HEADER.sub(rf"\1: {MASK}", line)
    if _FRAME.search(line):
        line = _TEXT.sub(f"'{MASK}'", line)
    return masked_text("".join(_values(_without_forms(line))))


def _tokens(tokens: Iterable[str]) -> Iterator[str]:
    """Yield each token with its secrets masked."""
    program, is_secret = "", False
    for token in tokens:
        if is_secret and token in _GIVEN:
            is_secret = False
            yield token
            continue
        if is_secret and not token.startswith("--"):
            is_secret = token.lower() in _SCHEMES
            yield token if is_secret else MASK
            continue
        is_secret = False
        name = token.rpartition("/")[2]
        if name in _OPTIONS:
            program = name
        assigned, option = _ASSIGNED.fullmatch(token), _OPTION.fullmatch(token)
        if assigned and _is_secret(assigned[2]) and "?" not in assigned[1]:
            is_secret = not assigned[3].strip() and not _is_path(token)
            yield assigned[1] + (MASK if assigned[3].strip() else "")
        elif attached := _attached(program, token):
            yield attached
        elif (option and _is_secret(option[1])) or _takes_secret(program, token):
            is_secret = True
            yield token
        else:
            yield _within(token)


def _is_secret(name: str) -> bool:
    """Return whether the value of this name is a secret."""
    parts = [part for part in re.split(r"[-_.]", _CAMEL.sub("-", name).lower()) if part]
    if not parts or parts[-1] in _HARMLESS_ENDS:
        return False
    if any(part in _SECRET_WORDS or part.endswith(_SECRET_ENDS) for part in parts):
        return True
    return any(part in _BEFORE_KEY for part in parts) and parts[-1] in {"key", "keys"}


def _is_path(word: str) -> bool:
    """Return whether a word is an absolute path and a colon: what a message is about."""
    path = word.lstrip("'\"`([").removeprefix("unix:")
    return path.startswith("/") and path.endswith(":")


def _is_subject(text: str, name: re.Match[str]) -> bool:
    """Return whether a path with this name comes before a message: `/run/auth: not found`."""
    end = name.end(1) + 1
    if text[name.start() - 1 : name.start()] != "/" or not text[end : end + 1].isspace():
        return False
    return _is_path(text[max(0, end - _LONGEST_PATH) : end].rsplit(maxsplit=1)[-1])


def _takes_secret(program: str, token: str) -> bool:
    return token in _OPTIONS.get(program, ()) and program not in _ATTACHED_ONLY


def _attached(program: str, token: str) -> str | None:
    """Return `-pSECRET` masked; None for another token."""
    for option in _OPTIONS.get(program, ()):
        if len(option) == 2 < len(token) and token.startswith(option):
            return option + MASK
    return None


def _within(token: str) -> str:
    """Return a token with the secrets within it masked."""
    token = _USERINFO.sub(rf"\1{MASK}@", token)
    token = _BEARER.sub(rf"\1{MASK}", token)
    return _KNOWN.sub(MASK, "".join(_values(_without_forms(token))))


def _without_forms(text: str) -> str:
    """Return a text with the secrets masked that a language or a format marks."""
    text = _SQL.sub(rf"\1{MASK}", _DSN.sub(rf"\1{MASK}@", text))
    for form in _NAMED:
        text = form.sub(
            lambda found: found[1] + MASK if _is_secret(found["name"]) else found[0], text
        )
    return text


def _values(token: str) -> Iterator[str]:
    """Yield the token in pieces, with a mask for the value of each secret name."""
    at = 0
    for name in _NAME.finditer(token):
        if name.start() < at or not _is_secret(name[1]) or _is_subject(token, name):
            continue
        value = _VALUE.match(token, name.end())
        if value is not None and value[0] not in _GIVEN:
            yield token[at : name.end()]
            yield MASK
            at = value.end()
    yield token[at:]
