"""Commands are found in remedies, whole, and nothing else is taken for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm_listener.status.remedy_commands import pieces


@pytest.mark.parametrize(
    ("remedy", "commands"),
    [
        (
            "Find who has the address: ss -ltnp 'sport = :9000', as root",
            ["ss -ltnp 'sport = :9000'"],
        ),
        ("End them, which finish their requests first: kill -QUIT -- -640", ["kill -QUIT -- -640"]),
        (
            "Stop it (kill 12), or give another address, then type: supervisorctl start php-fpm",
            ["kill 12", "supervisorctl start php-fpm"],
        ),
        (
            "Stop the other service for good: systemctl disable --now php8.2-fpm.service",
            ["systemctl disable --now php8.2-fpm.service"],
        ),
        (
            "Create it (after a reboot /run is empty): install -d -o www-data /run/php",
            ["install -d -o www-data /run/php"],
        ),
        ("Create it (useradd --system x), or correct the php-fpm pool", ["useradd --system x"]),
        ("Make room: df -h /run; df -i /run", ["df -h /run; df -i /run"]),
        (
            "Fix it until this is content: /usr/sbin/php-fpm8.2 -t -y /etc/php-fpm.conf",
            ["/usr/sbin/php-fpm8.2 -t -y /etc/php-fpm.conf"],
        ),
        (
            "See: ps -o pid,cmd --ppid $(supervisorctl pid php-fpm) (T: kill -CONT them; all busy), or restart it: supervisorctl restart php-fpm",  # noqa: E501 - as it stands
            ["ps -o pid,cmd --ppid $(supervisorctl pid php-fpm)", "supervisorctl restart php-fpm"],
        ),
        ("Read what it said last: tail /var/log/x.log", ["tail /var/log/x.log"]),
        ("Look whether the kernel has killed it: dmesg | grep -i oom", ["dmesg | grep -i oom"]),
        (
            "\u67e5\u770b\uff1adf -h /run\uff0c\u7136\u540e\uff1asupervisorctl start a",
            ["df -h /run", "supervisorctl start a"],
        ),
        ("Suspect an extension of PHP (php -m lists them): switch it off", []),
        ("There is nothing to do", []),
    ],
)
def test_commands(remedy: str, commands: list[str]) -> None:
    """Each as one would type it."""
    found = pieces(remedy)

    assert [piece.text for piece in found if piece.is_command] == commands
    assert "".join(piece.text for piece in found) == remedy


@given(st.text(alphabet="(): ,'$-/ kilsuptdf0123", max_size=200))
def test_nothing_is_lost(text: str) -> None:
    """The parts are the whole."""
    assert "".join(piece.text for piece in pieces(text)) == text
