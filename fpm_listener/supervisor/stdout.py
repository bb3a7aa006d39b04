"""Moves fd 1 away before any other import, so that only protocol words reach supervisord.

Law: this module imports nothing that could print, and is imported before everything else.
"""

import os
import sys


def protect_stdout() -> int:
    """Return a private descriptor of the protocol pipe; from now on fd 1 is stderr.

    After one wrong byte, supervisord never sends an event again (supervisor/dispatchers.py, state
    UNKNOWN).
    """
    private = os.dup(1)
    os.set_inheritable(private, False)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return private
