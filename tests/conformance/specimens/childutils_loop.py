"""Bad: the loop of supervisor's manual, with every weakness of supervisor.childutils."""

from supervisor import childutils


def main() -> None:
    """Answer until supervisord exits."""
    while True:
        childutils.listener.wait()
        childutils.listener.ok()


if __name__ == "__main__":
    main()
