"""A receiver that prints each alert in a form that people read.

Also on its own: `python -m demo.sink 9000`, then `url = http://127.0.0.1:9000/` in a receiver's
section.
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


def show(alert: dict[str, Any]) -> str:
    """Return one alert of Alertmanager's webhook format as a block of lines."""
    labels, annotations = alert.get("labels", {}), alert.get("annotations", {})
    status = str(alert.get("status", "?")).upper()
    program = f"{labels.get('group', '?')}:{labels.get('process', '?')}"
    lines = [f"+-- {status} {program} ({labels.get('severity', '?')})".ljust(100, "-")]
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


class _Handler(BaseHTTPRequestHandler):
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
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing: the alerts are what one looks at."""


def start(port: int = 0) -> ThreadingHTTPServer:
    """Return a running sink on loopback; port 0 = any free one."""
    server = ThreadingHTTPServer(("127.0.0.1", port), _Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
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
