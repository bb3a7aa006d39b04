"""Bad: searches for headers everywhere, and answers to each."""

import os


def main() -> None:
    """Answer until supervisord exits."""
    os.write(1, b"READY\n")
    while data := os.read(0, 1 << 20):
        os.write(1, b"RESULT 2\nOKREADY\n" * data.count(b"ver:3.0"))


if __name__ == "__main__":
    main()
