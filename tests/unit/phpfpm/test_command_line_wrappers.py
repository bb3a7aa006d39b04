"""Programs that start php-fpm: every option whose value is the next word."""

from __future__ import annotations

import time

import pytest

from fpm_listener.phpfpm.command_line import find, find_behind_sleep
from fpm_listener.phpfpm.shell_commands import SHELL
from fpm_listener.phpfpm.start_script import INIT

#: A wrapper, what must follow its options, and its options with a value of their own.
WRAPPERS = {
    "env": ("", "-u -C --unset --chdir"),
    "exec": ("", "-a"),
    "nice": ("", "-n --adjustment"),
    "ionice": ("", "-c -n --class --classdata"),
    "chrt": ("50", "-T -P -D"),
    "stdbuf": ("", "-i -o -e --input --output --error"),
    "dumb-init": ("", "-r --rewrite"),
    "tini": ("", "-p -e"),
    "docker-init": ("", "-p -e"),
    "sudo": ("", "-u -g -h -p -C -D -R -r -T -t -U --user --group --chdir"),
    "runuser": ("", "-u -g -G -s --user --group --supp-group --shell"),
    "timeout": ("5", "-k -s --kill-after --signal"),
    "setpriv": (
        "",
        """--reuid --regid --ruid --euid --rgid --egid --groups --inh-caps --ambient-caps
        --bounding-set --securebits --pdeathsig --selinux-label --apparmor-profile""",
    ),
    "fpm-listener guard": ("", "--wait --orphans --config"),
    "fpm_listener guard": ("", "--wait"),
}
#: Without such options.
PLAIN = (
    *("nohup", "setsid", "busybox", "docker-php-entrypoint", "catatonit", "with-contenv", "time"),
    *("gosu user", "su-exec user", "s6-setuidgid user", "pidproxy file", "chroot /srv"),
    *("taskset 1", "python3 -m fpm_listener guard", "python -u -E -I fpm-listener guard"),
)


@pytest.mark.parametrize(
    ("wrapper", "option"),
    [(name, option) for name, (_, options) in WRAPPERS.items() for option in options.split()],
)
def test_an_option_with_a_value(wrapper: str, option: str) -> None:
    """The next word is its value, also one that is named like php-fpm; a glued one is not."""
    operand, _ = WRAPPERS[wrapper]
    for given in (f"{option} php-fpm8.1", f"{option}={option}"):
        found = find(f"{wrapper} {given} {operand} php-fpm8.2 -F")
        assert found is not None, given
        assert found.binary == "php-fpm8.2", given


@pytest.mark.parametrize(
    ("command", "user"),
    [
        ("gosu www-data php-fpm -F", "www-data"),
        ("su-exec 82:82 php-fpm -F", "82"),
        ("sudo -E -u web php-fpm -F", "web"),
        ("sudo -uweb php-fpm -F", "web"),
        ("sudo --user=web -H php-fpm -F", "web"),
        ("runuser -u web -- php-fpm -F", "web"),
        ("runuser web -c 'php-fpm -F'", "web"),
        ("setpriv --reuid=33 --regid=33 php-fpm -F", "33"),
        ("chpst -u web:web php-fpm -F", "web"),
        ("su -s /bin/sh www-data -c 'exec php-fpm -F'", "www-data"),
        ("su -c 'php-fpm -F' web", "web"),
        ("sh -c 'exec gosu web php-fpm -F'", "web"),
        ("gosu web sh -c 'exec php-fpm -F'", "web"),
        ("sudo php-fpm -F", ""),
        ("su -c php-fpm", ""),
        ("setpriv --clear-groups php-fpm -F", ""),
        ("nice -n 5 php-fpm -F", ""),
        ("php-fpm -F", ""),
    ],
)
def test_the_user_of_a_wrapper(command: str, user: str) -> None:
    """Some wrappers change the user of php-fpm."""
    found = find(command)
    assert found is not None
    assert found.user == user


@pytest.mark.parametrize("wrapper", [*PLAIN, *(f"{n} {o}" for n, (o, _) in WRAPPERS.items())])
def test_an_option_without_a_value(wrapper: str) -> None:
    """The next word is the program already."""
    name, *operands = wrapper.split()
    words = [name, "guard"] if "guard" in wrapper and name.startswith("fpm") else [name]
    rest = operands[1:] if len(words) == 2 else operands
    if not name.startswith("python"):
        words.append("-Z")
    found = find(" ".join([*words, *rest, "php-fpm -F"]))

    assert found is not None
    assert found.binary == "php-fpm"


@pytest.mark.parametrize(
    "option",
    [
        *("--php-ini c", "--define d"),
        *("-c c", "-d d", "-y c", "-p p", "-g g", "--fpm-config c", "--prefix p", "--pid g"),
    ],
)
def test_a_value_of_php_fpm(option: str) -> None:
    """The word behind it is no option, whatever it looks like."""
    found = find(f"php-fpm {option.split(maxsplit=1)[0]} -R -F")

    assert found is not None
    assert (found.allow_root, found.foreground) == (False, True)


@pytest.mark.parametrize("option", ["--no-php-ini", "--profile-info", "-n", "-e"])
def test_an_option_of_php_fpm_without_a_value(option: str) -> None:
    """The next word is an option again, and php-fpm serves."""
    found = find(f"php-fpm {option} -R")

    assert found is not None
    assert (found.allow_root, found.test_only) == (True, False)


@pytest.mark.parametrize("option", ["test", "version", "info", "modules", "help", "usage"])
def test_a_long_option_that_ends_at_once(option: str) -> None:
    """php-fpm serves nobody with it."""
    found = find(f"php-fpm --{option} -R")

    assert found is not None
    assert (found.test_only, found.allow_root) == (True, True)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ('sh -c "sleep 1 && php-fpm -F"', "php-fpm -F"),
        ('bash -c "sleep 1; exec php-fpm -F"', "php-fpm -F"),
        ('/bin/dash -c "php-fpm -F"', "php-fpm -F"),
        ('sh -c "sleep 1 && sleep 2 && php-fpm -y %(here)s/a.conf"', "php-fpm -y %(here)s/a.conf"),
        ('sh -c "sleep %(ENV_N)s && %(here)s/php-fpm"', "%(here)s/php-fpm"),
    ],
)
def test_a_shell_that_only_waits(command: str, words: str) -> None:
    """It can be left out: the guard waits instead."""
    found = find_behind_sleep(command)

    assert found is not None
    assert " ".join([found.binary, *found.arguments]) == words


@pytest.mark.parametrize(
    "command",
    [
        "php-fpm -F",
        'sh -e "sleep 1 && php-fpm"',
        'sh -c "php-fpm" x',
        'ssh -c "sleep 1 && php-fpm"',
        'sh -c "rm /x && php-fpm"',
        'sh -c "sleep 1 && nginx"',
        'sh -c "sleep 1"',
        'sh -c ""',
        'sh -c "exec"',
        'sh -c "sleep 1 & php-fpm"',
        'sh -c "php-fpm &"',
        *(f"sh -c 'php-fpm {sign}'" for sign in "$`<>*?~()[]{}|"),
        'sh -c "unfinished',
    ],
)
def test_a_shell_that_does_more(command: str) -> None:
    """It stays: what it does would be lost."""
    assert find_behind_sleep(command) is None


@pytest.mark.parametrize(
    "word",
    ["if", "then", "elif", "else", "while", "until", "do", "!", "{", "command", "builtin"],
)
def test_a_word_of_the_shell_before_a_command(word: str) -> None:
    """It is no program."""
    found = find(f"sh -c 'true; {word} php-fpm -F'")

    assert found is not None
    assert found.arguments == ("-F",)


@pytest.mark.parametrize(
    ("long", "short"),
    [
        *[("daemonize", "D"), ("nodaemonize", "F"), ("force-stderr", "O")],
        *[("allow-to-run-as-root", "R"), ("fpm-config=x", "y x"), ("prefix=x", "p x")],
        *[("pid=x", "g x"), ("php-ini=x", "c x"), ("define=x", "d x"), ("no-php-ini", "n")],
        *[("profile-info", "e"), ("test", "t"), ("version", "v"), ("info", "i"), ("modules", "m")],
        *[("help", "h"), ("usage", "h")],
    ],
)
def test_a_long_option_and_its_short_one(long: str, short: str) -> None:
    """They mean the same."""
    one, other = find(f"php-fpm --{long} -R"), find(f"php-fpm -{short} -R")

    assert one is not None
    assert other is not None
    assert one._replace(arguments=()) == other._replace(arguments=())
    assert one.allow_root


def test_the_last_of_two_options_counts() -> None:
    """As php-fpm takes it; -X is none, and ends the options."""
    for options, foreground in (("-D -F", True), ("-F -D", False), ("-X -F", None), ("", None)):
        found = find(f"php-fpm {options}")
        assert found is not None
        assert found.foreground is foreground


def test_many_options_of_a_shell() -> None:
    """Each option matches in one way only: two ways take twice as long for each option."""
    began = time.process_time()

    assert SHELL.match("sh " + "--no " * 24 + "x") is None
    assert INIT.search("systemctl " + "--no " * 24 + "x") is None
    assert INIT.search("/etc/" + "rc.d/" * 20_000 + "x") is None
    assert time.process_time() - began < 1
