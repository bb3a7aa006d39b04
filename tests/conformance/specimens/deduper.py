"""Bad: does not answer to a repeated event."""

import sys

from supervisor import childutils


def main() -> None:
    """Answer until supervisord exits."""
    seen = set()
    childutils.listener.ready()
    while line := sys.stdin.readline():
        headers = childutils.get_headers(line)
        sys.stdin.read(int(headers["len"]))
        if headers["serial"] not in seen:
            seen.add(headers["serial"])
            childutils.listener.ok()
            childutils.listener.ready()


if __name__ == "__main__":
    main()
