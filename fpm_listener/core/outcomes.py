"""How an alert can fail to reach its receiver, as closed sets; the values are labels of metrics."""

from __future__ import annotations

from enum import Enum


class FailureReason(Enum):
    """Why one attempt failed."""

    REFUSED = "refused"  #: nobody listens there
    TIMEOUT = "timeout"  #: no whole answer before the deadline
    TLS = "tls"  #: the certificates, ours or theirs, or the handshake
    DNS = "dns"  #: the name of the host is not known
    CONNECTION = "connection"  #: reset, unreachable, closed without an answer
    CLIENT_ERROR = "client_error"  #: status 4xx
    SERVER_ERROR = "server_error"  #: status 5xx
    RATE_LIMITED = "rate_limited"  #: status 429, or a body that says "too fast"
    ANSWER = "answer"  #: a status of 2xx with a body that says no
    REDIRECT = "redirect"  #: status 3xx; never followed
    COMMAND = "command"  #: of kind exec: not found, or its exit status
    OTHER = "other"  #: an answer that is no HTTP, a file of the settings that cannot be read


class DropReason(Enum):
    """Why an alert was given up."""

    MAX_AGE = "max_age"  #: older than the operator wants to hear of
    MAX_ALERTS = "max_alerts"  #: more of them than the operator wants kept
    REJECTED = "rejected"  #: the receiver said that it will never take it
    NOT_HEARD = "not_heard"  #: a resolution whose firing the receiver did not get
    OPERATOR = "operator"  #: `fpm-listener alerts drop`
    FORGOTTEN = "forgotten"  #: an incident that nobody has spoken of for long
