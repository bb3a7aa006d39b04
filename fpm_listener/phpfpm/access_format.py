"""What php-fpm rejects in access.format.

Source: php-src sapi/fpm/fpm/fpm_log.c (fpm_log_write), 7.4 and 8.2.
"""

from __future__ import annotations

#: Codes that take one of these words in braces.
_WORDS = {
    "C": {"", "total", "user", "system"},
    "d": {
        *("", "seconds", "micro", "microseconds"),
        *("milli", "milliseconds", "mili", "miliseconds"),
    },
    "M": {"", "bytes", "kilo", "kilobytes", "mega", "megabytes"},
}
_NAMED = {"e", "o"}  #: codes that need a name in braces
_FREE = {"t", "T"}  #: codes that take any text in braces
_PLAIN = set("%flmnpPqQrRsu")
_LONGEST = 128


def access_format_fault(text: str) -> str:
    """Return why php-fpm rejects access.format, as a clause; empty if it does not."""
    at = 0
    while (at := text.find("%", at)) >= 0:
        at += 1
        braces = ""
        while text[at : at + 1] == "{":
            end = text.find("}", at)
            if end < 0 or end == len(text) - 1:
                return "after %{ there must be a } and a letter"
            braces = text[at + 1 : end][:_LONGEST]
            at = end + 1
        code = text[at : at + 1]
        at += 1
        if code and (why := _fault(code, braces)):
            return why
    return ""


def _fault(code: str, braces: str) -> str:
    if code in _WORDS:
        words = sorted(_WORDS[code] - {""})
        return "" if braces.lower() in _WORDS[code] else f"%{code} takes {', '.join(words)} only"
    if code in _NAMED:
        return "" if braces else f"%{code} needs a name in braces, for example %{{NAME}}{code}"
    if code in _FREE:
        return ""
    if code in _PLAIN:
        return f"%{code} takes no braces" if braces else ""
    return f"%{code} does not exist"
