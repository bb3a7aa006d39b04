"""Bad: answers FAIL, so that supervisor sends the event again and into other pools."""

from supervisor import childutils


def main() -> None:
    """Answer until supervisord goes away."""
    while True:
        childutils.listener.wait()
        childutils.listener.fail()


if __name__ == "__main__":
    main()
