"""A receiver that prints each alert in a form that people read.

It also runs alone: `python -m demo.webhook_receiver 9000`. Then write
`url = http://127.0.0.1:9000/` into a receiver's section.
"""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import zip_longest
from textwrap import wrap
from typing import Any

#: Bytes. Our largest body has some ten kilobytes.
_LARGEST_BODY = 1 << 20

#: The annotations to show, in this order, and how wide. Log lines and commands are left whole.
_SHOWN = {"summary": 86, "cause": 86, "description": 86, "evidence": 10**4, "remedy": 10**4}


#: Seconds after which an alert that is still firing is printed once more: log lines move it away.
_REMIND_S = 10.0


def name_of(alert: dict[str, Any]) -> str:
    """Return the program as people call it."""
    group, process = (alert.get("labels", {}).get(key, "?") for key in ("group", "process"))
    return str(process) if group == process else f"{group}:{process}"


def reminder(alert: dict[str, Any]) -> str:
    """Return what is still firing, in two lines."""
    words = alert.get("annotations", {})
    lines = (f"STILL FIRING {words.get('summary', '')}", f"remedy: {words.get('remedy', '')}")
    return "\n".join(f"| {_printable(line)}" for line in lines)


def show(alert: dict[str, Any]) -> str:
    """Return one alert of Alertmanager's webhook format as a block of lines."""
    labels, annotations = alert.get("labels", {}), alert.get("annotations", {})
    status = str(alert.get("status", "?")).upper()
    lines = [f"+-- {status} {name_of(alert)} ({labels.get('severity', '?')})".ljust(100, "-")]
    for key, width in _SHOWN.items():
        text = str(annotations.get(key, "")).splitlines()
        rows = [row for line in text for row in wrap(line, width, break_on_hyphens=False)]
        lines += [
            f"| {word:<12}{row}" for word, row in zip_longest([key], rows, fillvalue="") if rows
        ]
    return "\n".join([*map(_printable, lines), "+".ljust(100, "-")])


def _printable(line: str) -> str:
    """Replace what a log line could do to a terminal."""
    return "".join(char if char.isprintable() else "?" for char in line)


class WebhookReceiver(ThreadingHTTPServer):
    """Prints alerts, and those that are still firing now and then."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        self.firing: dict[str, dict[str, Any]] = {}
        self._over = threading.Event()
        super().__init__(("127.0.0.1", port), _Handler)

    def remind(self) -> None:
        """Print what is still firing, until the receiver stops."""
        while not self._over.wait(_REMIND_S):
            for alert in list(self.firing.values()):
                sys.stdout.write(reminder(alert) + "\n")
                sys.stdout.flush()

    def shutdown(self) -> None:
        """End it."""
        self._over.set()
        super().shutdown()


class _Handler(BaseHTTPRequestHandler):
    server: WebhookReceiver
    timeout = 10

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > _LARGEST_BODY:
            self.send_error(413)
            return
        try:
            alerts = json.loads(self.rfile.read(int(length)))["alerts"]
            text = "\n".join(show(alert) for alert in alerts)
        except (ValueError, KeyError, TypeError, AttributeError):
            self.send_error(400, "not the body of an Alertmanager webhook")
            return
        # One write: several threads print, and so does supervisord.
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
        for alert in alerts:
            key = str(alert.get("fingerprint", alert.get("labels")))
            self.server.firing.pop(key, None)
            if alert.get("status") == "firing":
                self.server.firing[key] = alert
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing: the alerts are what one looks at."""


def start(port: int = 0) -> WebhookReceiver:
    """Return a running receiver on loopback; port 0 = any free one."""
    server = WebhookReceiver(port)
    for work in (server.serve_forever, server.remind):
        threading.Thread(target=work, daemon=True).start()
    return server


def main() -> None:
    """Serve until Ctrl-C."""
    server = start(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    print(f"alerts to http://127.0.0.1:{server.server_port}/", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        server.shutdown()


if __name__ == "__main__":
    main()
