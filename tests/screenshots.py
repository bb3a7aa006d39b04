"""Create the pictures of the page for README.md: `make screenshots`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from fpm_listener.settings.settings import WebSettings
from fpm_listener.status.metrics import make_registry
from fpm_listener.web.server import WebServer
from tests.chromium import Chromium
from tests.snapshots import TROUBLE
from tests.waiting import wait_until

IMAGES = Path(__file__).parents[1] / "docs" / "images"
#: Name, colours, width and height; README.md shows each at half of its size or less.
SHOTS = (
    ("page-light.png", "light", 1180, 980),
    ("page-dark.png", "dark", 1180, 980),
    ("page-phone.png", "dark", 400, 860),
)


def main() -> None:
    """Write the pictures."""
    server = WebServer(
        WebSettings(port=0), lambda: TROUBLE, partial(make_registry, lambda: TROUBLE), print
    )
    server.start()
    browser = Chromium()
    try:
        wait_until(lambda: server.port, "the server's port")
        for name, scheme, width, height in SHOTS:
            browser.look(scheme=scheme, width=width, height=height)
            browser.go(f"http://127.0.0.1:{server.port}/")
            browser.wait("it to be live", lambda: browser.text("#pulse") == "live")
            (IMAGES / name).write_bytes(browser.picture())
            print(f"{IMAGES / name}: {(IMAGES / name).stat().st_size} bytes")  # noqa: T201 - a script
    finally:
        browser.close()
        server.stop()


if __name__ == "__main__":
    main()
