"""Nothing but protocol words ever reaches supervisord: fd 1 is moved away before any other import.

Law: this module imports nothing that could print, and is imported before everything else.
"""

import os
import sys


def protect_stdout() -> int:
    """Return a private descriptor of the protocol pipe; from now on fd 1 is stderr.

    supervisord shuts its ear for ever to a listener that lets one stray byte through
    (supervisor/dispatchers.py, state UNKNOWN).
    """
    private = os.dup(1)
    os.set_inheritable(private, False)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return private
