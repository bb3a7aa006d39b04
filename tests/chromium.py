"""A headless Chromium over its DevTools pipe: no driver, no library, no port.

Source: chromedevtools.github.io/devtools-protocol; `--remote-debugging-pipe` reads from descriptor
3 and writes to 4, JSON messages that end with a NUL.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds. A shared machine starts a browser slowly.
DEADLINE_S = 150.0

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe"),
)


class Chromium:
    """One browser with one page."""

    def __init__(self) -> None:
        path = shutil.which("chromium")
        assert path, "no chromium on this machine: run scripts/setup.sh test"
        self.said: list[dict[str, Any]] = []  #: events of the protocol, oldest first
        self._answers: dict[int, dict[str, Any]] = {}
        self._number = 0
        self._rest = b""
        self._folder = tempfile.mkdtemp(prefix="chromium-")
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        # A shell moves the descriptors: 3 and 4 may be the very ones that are to be moved there.
        moves = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
        folder = f"--user-data-dir={self._folder}"
        command = ["/bin/bash", "-c", moves, path, *_FLAGS, folder, "about:blank"]
        self._browser = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(theirs_in, theirs_out),
            start_new_session=True,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._in, self._out = ours_in, ours_out
        self._session: str | None = None
        try:
            self._attach()
        except BaseException:
            self.close()
            raise

    def _attach(self) -> None:
        targets = self.wait("a page", self._pages)
        target = targets[0]["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")

    def _pages(self) -> list[dict[str, Any]]:
        infos = self.ask("Target.getTargets")["targetInfos"]
        return [one for one in infos if one["type"] == "page"]

    def close(self) -> None:
        """End the browser with all its processes, and remove its folder."""
        if self._browser.poll() is None:
            os.killpg(self._browser.pid, signal.SIGKILL)  # a session of its own
        self._browser.wait()
        os.close(self._in)
        os.close(self._out)
        shutil.rmtree(self._folder, ignore_errors=True)

    # -- the protocol ------------------------------------------------------------------------------

    def ask(self, method: str, **words: object) -> dict[str, Any]:
        """Return what the browser answers."""
        self._number += 1
        number = self._number
        message: dict[str, object] = {"id": number, "method": method, "params": words}
        if self._session:
            message["sessionId"] = self._session
        raw = json.dumps(message).encode() + b"\0"
        while raw:
            raw = raw[os.write(self._out, raw) :]
        end = time.monotonic() + DEADLINE_S
        while number not in self._answers:
            assert time.monotonic() < end, f"no answer to {method}"
            self.listen(0.2)
        answer = self._answers.pop(number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    def listen(self, patience_s: float) -> None:
        """Take in what the browser says."""
        if not select.select([self._in], [], [], patience_s)[0]:
            return
        chunk = os.read(self._in, 1 << 20)
        assert chunk, "the browser has ended"
        *messages, self._rest = (self._rest + chunk).split(b"\0")
        for raw in messages:
            message = json.loads(raw)
            if "id" in message:
                self._answers[message["id"]] = message
            else:
                self.said.append(message)

    def events(self, method: str) -> list[dict[str, Any]]:
        """Return the parameters of all events of that name."""
        return [one["params"] for one in self.said if one["method"] == method]

    def wait(self, what: str, probe: Callable[[], Any]) -> Any:  # noqa: ANN401 - as the probe has it
        """Return the first true answer of `probe`; fail with `what` when none comes in time."""
        end = time.monotonic() + DEADLINE_S
        while not (answer := probe()):
            assert time.monotonic() < end, f"waited in vain for: {what}"
            self.listen(0.02)
        return answer

    # -- the page ----------------------------------------------------------------------------------

    def go(self, url: str) -> None:
        """Load a page, and wait until it is loaded."""
        # The page that is left asks for news each second: it has to be gone, lest its last question
        # be taken for one of the next page's.
        for target in ("about:blank", url):
            self.said.clear()
            self.ask("Page.navigate", url=target)
            self.wait(f"{target} to load", lambda: self.events("Page.loadEventFired"))

    def run(self, script: str) -> Any:  # noqa: ANN401 - JSON
        """Return the value of a JavaScript expression, awaited; CSP does not apply to it."""
        answer = self.ask(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def text(self, selector: str = "body") -> str:
        """Return what one sees of the first element."""
        found: str = self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")
        return found

    def look(self, *, scheme: str = "light", width: int = 1280, height: int = 900) -> None:
        """Set the size of the window, and whether it is dark."""
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self.ask("Emulation.setEmulatedMedia", features=features)
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    def picture(self, *, whole: bool = False) -> bytes:
        """Return a PNG of the window, or of the whole page."""
        answer = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(answer["data"])
