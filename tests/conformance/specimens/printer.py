"""Bad: prints what it sees, as one does to find a mistake."""

from supervisor import childutils


def main() -> None:
    """Answer until supervisord goes away."""
    while True:
        headers, _ = childutils.listener.wait()
        print("got", headers["eventname"])  # noqa: T201 - the bad habit
        childutils.listener.ok()


if __name__ == "__main__":
    main()
