"""Programs that start another program: their options, and the user to which they change."""

from __future__ import annotations

from typing import NamedTuple

from fpm_listener.phpfpm.guard_command import OPTIONS as GUARD_OPTIONS


class Wrapper(NamedTuple):
    """A program that starts another one."""

    values: str = ""  #: short options that take a value
    long_values: frozenset[str] = frozenset()  #: long options whose value may be the next word
    operands: int = 0  #: words between the options and the other program


def _long(names: str) -> frozenset[str]:
    return frozenset(f"--{name}" for name in names.split())


KNOWN = {
    **dict.fromkeys(("nohup", "setsid", "busybox", "docker-php-entrypoint"), Wrapper()),
    **dict.fromkeys(("catatonit", "with-contenv", "time", "eatmydata", "pgrphack"), Wrapper()),
    "cgexec": Wrapper(values="g"),
    "doas": Wrapper(values="uC"),
    **dict.fromkeys(("gosu", "su-exec", "s6-setuidgid", "pidproxy"), Wrapper(operands=1)),
    **dict.fromkeys(("chroot", "taskset"), Wrapper(operands=1)),
    **dict.fromkeys(("setuidgid", "envuidgid", "envdir", "setuser"), Wrapper(operands=1)),
    "chpst": Wrapper(values="uUbe/nlLmdoptfcr"),  # of runit
    "softlimit": Wrapper(values="madcsrfolpt"),  # of daemontools
    "prlimit": Wrapper(long_values=_long("output")),
    "numactl": Wrapper(
        values="ipPwNCmSfLoMI",
        long_values=_long(
            "interleave weighted-interleave preferred preferred-many physcpubind cpunodebind "
            "membind shm file length offset shmmode shmid"
        ),
    ),
    **dict.fromkeys(("tini", "docker-init"), Wrapper(values="pe")),
    "exec": Wrapper(values="a"),
    "env": Wrapper(values="uC", long_values=_long("unset chdir")),
    "nice": Wrapper(values="n", long_values=_long("adjustment")),
    "ionice": Wrapper(values="cn", long_values=_long("class classdata")),
    "chrt": Wrapper(
        values="TPD",
        long_values=_long("sched-runtime sched-period sched-deadline"),
        operands=1,
    ),
    "stdbuf": Wrapper(values="ioe", long_values=_long("input output error")),
    "dumb-init": Wrapper(values="r", long_values=_long("rewrite")),
    "sudo": Wrapper(values="ughpCDRrtTU", long_values=_long("user group chdir")),
    "runuser": Wrapper(values="ugGs", long_values=_long("user group supp-group shell")),
    "timeout": Wrapper(values="ks", long_values=_long("kill-after signal"), operands=1),
    "setpriv": Wrapper(
        long_values=_long(
            "reuid regid ruid euid rgid egid groups inh-caps ambient-caps bounding-set "
            "securebits pdeathsig selinux-label apparmor-profile",
        ),
    ),
    "guard": Wrapper(  # of `fpm-listener guard`
        long_values=frozenset(f"--{one.name}" for one in GUARD_OPTIONS if one.value)
    ),
}
_SU = Wrapper(values="sgGwc", long_values=_long("shell group supp-group whitelist-environment"))
#: Wrappers whose operand is a user, and the options of others that name one.
_USER_OPERAND = {"gosu", "su-exec", "s6-setuidgid", "setuidgid", "setuser", "su"}
_USER_OPTIONS = {
    **dict.fromkeys(("sudo", "doas", "runuser", "chpst"), ("-u", "--user")),
    "setpriv": ("--reuid", "--ruid"),
}


def behind(words: list[str], wrapper: Wrapper) -> list[str]:
    """Return the words of the program that the wrapper starts."""
    at = 0
    while at < len(words) and words[at].startswith("-") and words[at] != "--":
        word = words[at]
        if word.startswith("--"):
            at += word in wrapper.long_values
        else:
            rest = word[1:].lstrip("".join(set(word) - set(wrapper.values)))
            at += len(rest) == 1  # its value is the next word
        at += 1
    at += words[at : at + 1] == ["--"]
    return words[at + wrapper.operands :]


def user(name: str, words: list[str]) -> str:
    """Return the user to which a wrapper changes; words: those between it and its program."""
    if name in _USER_OPERAND:
        own = behind(words, _SU if name == "su" else Wrapper())
        return own[0].partition(":")[0] if own else ""
    for option in _USER_OPTIONS.get(name, ()):
        for at, word in enumerate(words):
            if word == option:
                return "".join(words[at + 1 : at + 2]).partition(":")[0]
            if word.startswith(f"{option}=" if option.startswith("--") else option):
                return word.removeprefix(option).removeprefix("=").partition(":")[0]
    # runuser takes the user as an operand if it has a command.
    own = behind(words, _SU) if name == "runuser" else []
    return own[0] if own else ""
