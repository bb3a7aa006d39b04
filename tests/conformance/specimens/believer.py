"""Bad: believes that every event is one of the manual's, and dies when it is not."""

from supervisor import childutils, events


def main() -> None:
    """Answer until supervisord goes away."""
    while True:
        headers, payload = childutils.listener.wait()
        kind = getattr(events.EventTypes, headers["eventname"])
        if issubclass(kind, events.ProcessStateEvent):
            int(childutils.get_headers(payload).get("pid", "0"))
        childutils.listener.ok()


if __name__ == "__main__":
    main()
