"""Bad: prints to stdout, as people do to find a mistake."""

from supervisor import childutils


def main() -> None:
    """Answer until supervisord exits."""
    while True:
        headers, _ = childutils.listener.wait()
        print("got", headers["eventname"])  # noqa: T201 - the bad habit
        childutils.listener.ok()


if __name__ == "__main__":
    main()
