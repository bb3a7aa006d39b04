"""Bad: reads text with universal newlines, so that CR LF becomes one character."""

import sys


def main() -> None:
    """Answer until supervisord exits."""
    source = open(0, encoding="utf-8", newline=None)  # noqa: SIM115 - stdin, until the end
    while True:
        sys.stdout.write("READY\n")
        sys.stdout.flush()
        header = source.readline()
        if not header:
            return
        source.read(int(header.rpartition(":")[2]))
        sys.stdout.write("RESULT 2\nOK")


if __name__ == "__main__":
    main()
