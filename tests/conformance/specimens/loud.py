"""Bad: must be heard on stderr at once, or dies."""

import os

from supervisor import childutils


def main() -> None:
    """Answer until supervisord goes away."""
    os.set_blocking(2, False)
    while True:
        headers, _ = childutils.listener.wait()
        os.write(2, f"got {headers['eventname']}\n".encode())
        childutils.listener.ok()


if __name__ == "__main__":
    main()
