"""Bad: answers FAIL, so that supervisor sends the event again, also to other pools."""

from supervisor import childutils


def main() -> None:
    """Answer until supervisord exits."""
    while True:
        childutils.listener.wait()
        childutils.listener.fail()


if __name__ == "__main__":
    main()
