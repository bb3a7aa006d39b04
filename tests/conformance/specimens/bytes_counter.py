"""Bad: reads `len` as a number of bytes."""

import sys


def main() -> None:
    """Answer until supervisord exits."""
    while True:
        sys.stdout.write("READY\n")
        sys.stdout.flush()
        header = sys.stdin.buffer.readline()
        if not header:
            return
        sys.stdin.buffer.read(int(header.rpartition(b":")[2]))
        sys.stdout.write("RESULT 2\nOK")


if __name__ == "__main__":
    main()
