"""All commands of a remedy are found, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm_listener.status.remedy_commands import pieces


@pytest.mark.parametrize(
    ("remedy", "commands"),
    [
        (
            "As root, find the process that uses the address: ss -ltnp 'sport = :9000'",
            ["ss -ltnp 'sport = :9000'"],
        ),
        ("End them, which finish their requests first: kill -QUIT -640", ["kill -QUIT -640"]),
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
        (
            "Free some disk space. To see what is used: df -h /run; df -i /run",
            ["df -h /run; df -i /run"],
        ),
        (
            "Fix it. Then this must report no error: /usr/sbin/php-fpm8.2 -t -y /etc/php-fpm.conf",
            ["/usr/sbin/php-fpm8.2 -t -y /etc/php-fpm.conf"],
        ),
        (
            "See: ps -o pid,cmd --ppid $(supervisorctl pid php-fpm). State T means stopped: kill -CONT PID. Or restart it: supervisorctl restart php-fpm",  # noqa: E501 - as it stands
            ["ps -o pid,cmd --ppid $(supervisorctl pid php-fpm)", "supervisorctl restart php-fpm"],
        ),
        ("Read its last log lines: tail /var/log/x.log", ["tail /var/log/x.log"]),
        *(
            (f"Do it: {command}, then type: x", [command])
            for command in (
                "supervisorctl -c '/srv/my conf/x.conf' stop web:php-fpm",
                "/opt/venv/bin/supervisorctl -s unix:///run/s.sock start web",
                "su -s /bin/sh deploy -c 'supervisorctl -c /srv/x.conf stop php-fpm'",
                "mount -o remount,rw $(df -P /run | awk 'END {print $6}')",
                "ls -ld / '/a (b)' /c",
                "grep -i ':2328 ' /proc/net/tcp /proc/net/tcp6",
                "tail '/var/log/my app.log' /var/log/x.err",
                "docker stop 0123456789ab",
                "sv down /etc/service/php-fpm",
                "s6-svc -d /run/service/php-fpm",
                "sed -i 's/\\r$//' /srv/start",
            )
        ),
        ("Check whether the kernel killed it: dmesg | grep -i oom", ["dmesg | grep -i oom"]),
        (
            "\u67e5\u770b\uff1adf -h /run\uff0c\u7136\u540e\uff1asupervisorctl start a",
            ["df -h /run", "supervisorctl start a"],
        ),
        ("Look for a faulty PHP extension (php -m lists all): disable it", []),
        ("No action is needed", []),
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
