"""Bad: exits if nobody reads its stderr."""

import os

from supervisor import childutils


def main() -> None:
    """Answer until supervisord exits."""
    os.set_blocking(2, False)
    while True:
        headers, _ = childutils.listener.wait()
        os.write(2, f"got {headers['eventname']}\n".encode())
        childutils.listener.ok()


if __name__ == "__main__":
    main()
