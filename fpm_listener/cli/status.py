"""`fpm-listener status`: prints the state of a running listener.

Laws:
1. On the listener's host it uses the control socket: the kernel identifies both sides, and no
   password is sent.
2. A password or token is only sent over TLS, or with --insecure.
3. No password is on a command line or in an error. With --url, only a secret of --config or of the
   environment is sent.
4. A certificate in the settings is trusted even if it is self-signed.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import ssl
import sys
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, TextIO

from fpm_listener import regular_file
from fpm_listener.cli import endpoint, output
from fpm_listener.daemon.control_client import ControlRequest, ask
from fpm_listener.status.terminal import to_table
from fpm_listener.untrusted_text import plain
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    from fpm_listener.cli.endpoint import Endpoint
    from fpm_listener.settings.settings import WebSettings
    from fpm_listener.status.document import Document

_PATIENCE_S = 10
_DESCRIPTORS = ("/dev/stdin", "/dev/fd/", "/proc/self/fd/")
#: The most bytes of an answer; hundreds of programs need some hundred kilobytes.
_LONGEST = 64 << 20
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - not bound here


def run(
    url: str | None,
    config: str | None,
    out: TextIO | None,
    *,
    as_json: bool,
    insecure: bool = False,
) -> int:
    """Print the state; return the exit status. Raises FpmListenerError.

    insecure: a password or token may be sent in clear text.
    """
    found = endpoint.usual(url, config, os.environ)
    document = ask_listener(url, found, insecure=insecure)
    where = url or f"{found.state_dir} or {url_of(found.web)}"
    if found.mistake:
        sys.stderr.write(
            "fpm-listener: the settings have a mistake; the running listener keeps its old ones: "
            f"{plain(found.mistake)}\n"
        )
    seen = out is not None and out.isatty()
    width = shutil.get_terminal_size().columns if seen else None
    colour = seen and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    try:
        # The table is made for --json too: a document without a table is not a status.
        table = to_table(document, width, colour=colour)
        text = json.dumps(document, indent=2) if as_json else table
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError):
        raise FpmListenerError(
            f"{where}: the answer is not a status of this version of fpm-listener; check whether"
            " another program uses the port"
        ) from None
    output.write(text, out)
    return 0


def ask_listener(url: str | None, found: Endpoint, *, insecure: bool) -> Document:
    """Return the state, from the control socket if no URL is given. Raises FpmListenerError."""
    why = ""
    if url is None:
        try:
            document: Document | None = ask(
                found.state_dir,
                ControlRequest(action="status"),
                any_state_dir=found.is_default,
            )
        except FpmListenerError as error:
            document, why = None, str(error)
        if isinstance(document, dict):
            return document
        why = why or f"{found.state_dir}: no listener answers on its socket"
    where = url or url_of(found.web)
    if found.web.needs_secret and where.startswith("http://") and not insecure:
        raise FpmListenerError(
            f"{where}: the password or token is not sent in clear text, because any process could "
            f"listen there{'; ' + why if why else ''}. Run this as root on the listener's host "
            "without --url, or configure https (web_cert_file, web_key_file), or use --insecure"
        )
    return fetch(where, found.web)


def url_of(web: WebSettings) -> str:
    """Return the URL of a listener with these settings."""
    host = _ANYWHERE.get(web.host, web.host)
    host = f"[{host}]" if ":" in host else host
    return f"{'https' if web.cert_file else 'http'}://{host}:{web.port}"


def fetch(url: str, web: WebSettings) -> Document:
    """Return the state of the listener at `url`.

    Raises FpmListenerError if no listener answers, or if it rejects the password.
    """
    if not url.startswith(("http://", "https://")):
        raise FpmListenerError(f"--url {url!r} is not a URL; write http://host:port")
    headers = _headers(web)
    try:
        request = urllib.request.Request(f"{url.rstrip('/')}/status.json", headers=headers)  # noqa: S310 - checked above
        opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=trust(web)), _NoRedirect()
        )
        with opener.open(request, timeout=_PATIENCE_S) as answer:
            # The beginning of an endless answer is not valid JSON.
            document: Document = json.loads(answer.read(_LONGEST))
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 401:
            raise FpmListenerError(
                f"{url}: the answer is {error.code} {error.reason}; is this the listener's URL?"
            ) from None
        what = "another password or token" if headers else "a password or token"
        raise FpmListenerError(
            f"{url}: the listener requires {what}; name its settings with --config FILE, or set "
            "FPM_LISTENER_WEB_TOKEN_FILE, or FPM_LISTENER_WEB_USERNAME and "
            "FPM_LISTENER_WEB_PASSWORD_FILE",
        ) from None
    except RecursionError:
        raise FpmListenerError(f"{url}: the answer is nested too deeply to be a status") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        why = getattr(error, "reason", error)
        why = getattr(why, "strerror", None) or why
        raise FpmListenerError(
            f"{url}: no listener answers there ({why}); check that it runs, and the setting listen"
        ) from None
    return document


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirection: it would pass on a password."""

    def redirect_request(self, *_: object) -> None:
        """Return no request: the answer becomes an error."""


def _headers(web: WebSettings) -> dict[str, str]:
    if web.token_file is not None:
        token = _secret(web.token_file).encode()
        return {"Authorization": "Bearer " + token.decode("latin-1")}  # as http.client encodes it
    if web.password_file is not None:
        pair = f"{web.username or ''}:{_secret(web.password_file)}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
    return {}


def _secret(path: os.PathLike[str]) -> str:
    try:
        if os.fspath(path).startswith(_DESCRIPTORS):  # it can be a pipe of a shell
            with open(path, "rb") as file:  # noqa: PTH123 - any path
                secret = file.read(regular_file.LONGEST_SECRET)
        else:
            secret = regular_file.read_secret(path)
        return secret.decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "is not UTF-8"
        raise FpmListenerError(
            f"{os.fspath(path)}: the listener's password or token cannot be read ({why}); "
            "run this as a user who may read the file, such as root",
        ) from None


def trust(web: WebSettings) -> ssl.SSLContext:
    """Return the trusted certificates. Raises FpmListenerError."""
    context = ssl.create_default_context()
    if web.cert_file is not None:
        # It is exactly the listener's certificate, so its host name does not matter.
        try:
            regular_file.read(web.cert_file, regular_file.LONGEST_CERTIFICATE)
            context.load_verify_locations(web.cert_file)
        except OSError as error:
            raise FpmListenerError(
                f"{web.cert_file}: cannot be read as a certificate: {error.strerror}"
            ) from None
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.check_hostname = False
    return context
