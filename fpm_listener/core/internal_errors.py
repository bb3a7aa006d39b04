"""The places in which the listener survives an unexpected error, as a closed set."""

from __future__ import annotations

from enum import Enum


class Where(Enum):
    """Where an unexpected error was caught; the values are labels of a metric."""

    EVENT = "event"  #: an event of supervisord
    INPUT = "input"  #: anything else that the main thread gets, and what is due by time
    EFFECT = "effect"  #: the start of slow work
    DATABASE = "database"  #: a commit
    MEMORY = "memory"  #: what an earlier listener left in the database
    SETTINGS = "settings"  #: a reload of the settings
    LOG = "log"  #: one followed log file
    POOL = "pool"  #: the status page of one FPM pool
    RECEIVER = "receiver"  #: one receiver of alerts
    WEB = "web"  #: one HTTP request or connection
    CONTROL = "control"  #: one connection to the control socket
    GUARD = "guard"  #: one guard that asks for its sockets
    SUPERVISOR = "supervisor"  #: supervisord's XML-RPC
    PROGRAMS = "programs"  #: the configuration of the programs
    HOLDER = "holder"  #: the search for the holder of an address
    EXIT = "exit"  #: the examination of a process that ended
    CHECK = "check"  #: the doctor's run at start
    TEXTFILE = "textfile"  #: the metrics as a file
    THREAD = "thread"  #: the start of a thread
