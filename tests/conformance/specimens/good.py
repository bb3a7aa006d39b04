"""Good: acknowledges every event that supervisor can send, and some that it cannot."""

import codecs
import os
import re
import select
import signal
import sys

HEADER = re.compile(r"ver:[^\n]* len:(\d+)\n")
#: Seconds after which text without a header counts as an event that nobody can read.
PATIENCE_S = 2.0


def main() -> None:
    """Answer until supervisord exits."""
    stdout = os.dup(1)
    os.dup2(2, 1)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = ""
    os.write(stdout, b"READY\n")
    while True:
        header = HEADER.search(text)
        if header and len(text) >= (end := header.end() + int(header[1])):
            text = text[end:]
        elif text and not header and not select.select([0], [], [], PATIENCE_S)[0]:
            text = ""
        else:
            data = os.read(0, 1 << 16)
            if not data:
                sys.exit(0)
            text += decoder.decode(data)
            continue
        os.write(stdout, b"RESULT 2\nOKREADY\n")


if __name__ == "__main__":
    main()
