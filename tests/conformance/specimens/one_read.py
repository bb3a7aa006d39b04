"""Bad: expects one event from each read."""

import os


def main() -> None:
    """Answer until supervisord exits."""
    os.write(1, b"READY\n")
    while os.read(0, 1 << 20):
        os.write(1, b"RESULT 2\nOKREADY\n")


if __name__ == "__main__":
    main()
