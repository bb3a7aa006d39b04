"""Bad: expects only event types of supervisor's manual, and exits at any other."""

from supervisor import childutils, events


def main() -> None:
    """Answer until supervisord exits."""
    while True:
        headers, payload = childutils.listener.wait()
        kind = getattr(events.EventTypes, headers["eventname"])
        if issubclass(kind, events.ProcessStateEvent):
            int(childutils.get_headers(payload).get("pid", "0"))
        childutils.listener.ok()


if __name__ == "__main__":
    main()
