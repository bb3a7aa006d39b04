"""Bad: does not exit when it should."""

import signal
import time

from supervisor import childutils


def main() -> None:
    """Answer without end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        while True:
            childutils.listener.wait()
            childutils.listener.ok()
    except (KeyError, ValueError, OSError):  # the end of stdin, of stdout; a header that was cut
        time.sleep(3600)


if __name__ == "__main__":
    main()
