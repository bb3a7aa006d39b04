"""Bad: posts to a receiver, its last argument, before it acknowledges."""

import sys
import urllib.request

from supervisor import childutils


def main() -> None:
    """Answer until supervisord exits."""
    while True:
        headers, payload = childutils.listener.wait()
        if headers["eventname"] == "PROCESS_STATE_EXITED":
            urllib.request.urlopen(sys.argv[-1], payload.encode())
        childutils.listener.ok()


if __name__ == "__main__":
    main()
