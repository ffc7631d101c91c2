"""Opens a session with the mail server in EMAIL_URL: sends the greeting, starts TLS if
the server offers it, and signs in.
"""

import base64
import smtplib
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from urllib.parse import parse_qs, unquote, urlsplit

# In seconds: for connecting, and for each later step.
# Servers that defend themselves against spam let strangers wait for their greeting.
CONNECT_TIMEOUT = 15
STEP_TIMEOUT = 20


@dataclass(frozen=True)
class Server:
    """Where mail goes, from EMAIL_URL: smtp://user:password@host:port, or smtps:// for
    TLS from the first byte, which port 465 has too.

    STARTTLS is used if the server offers it; `?tls=off` forbids it, `?tls=required`
    insists.
    `?dsn=1` asks for delivery notices, which come back to the gateway's own listener.
    `?name=desk.example.com` is how we greet the server; without it, by the name of the
    machine.
    """

    host: str
    port: int
    user: str
    password: str
    implicit_tls: bool
    starttls: str
    dsn: bool = False
    name: str = ""

    @classmethod
    def from_url(cls, url: str) -> "Server":
        """Read EMAIL_URL."""
        parts = urlsplit(url)
        is_implicit_tls = parts.scheme == "smtps" or parts.port == 465
        options = parse_qs(parts.query)
        return cls(
            host=parts.hostname or "127.0.0.1",
            port=parts.port or (465 if is_implicit_tls else 25),
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            implicit_tls=is_implicit_tls,
            starttls=options.get("tls", ["offered"])[0],
            dsn=options.get("dsn", ["0"])[0] == "1",
            name=options.get("name", [""])[0],
        )

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def connect(
    server: Server,
    *,
    connect_timeout: float = CONNECT_TIMEOUT,
    timeout: float = STEP_TIMEOUT,
) -> smtplib.SMTP:
    """Return a session that is ready for a message; each further step has `timeout`
    seconds.

    Raises smtplib.SMTPException, OSError or UnicodeError.
    """
    # Without a name smtplib asks DNS for it, which may take long.
    name = server.name or socket.gethostname()
    open_session: Callable[..., smtplib.SMTP] = smtplib.SMTP
    if server.implicit_tls:
        open_session = partial(smtplib.SMTP_SSL, context=_tls())
    smtp = open_session(
        server.host, server.port, local_hostname=name, timeout=connect_timeout
    )
    limit(smtp, timeout)
    smtp.ehlo_or_helo_if_needed()
    if not server.implicit_tls and server.starttls != "off":
        if smtp.has_extn("starttls"):
            smtp.starttls(context=_tls())
            smtp.ehlo_or_helo_if_needed()
        elif server.starttls == "required":
            raise smtplib.SMTPNotSupportedError(
                "the mail server does not offer STARTTLS"
            )
    if server.user:
        _sign_in(smtp, server.user, server.password)
    return smtp


def _sign_in(smtp: smtplib.SMTP, user: str, password: str) -> None:
    if (user + password).isascii():
        try:
            smtp.login(user, password)
        except smtplib.SMTPAuthenticationError:
            # Some servers ask for the user again after AUTH LOGIN with the user.
            smtp.login(user, password, initial_response_ok=False)
        return
    # smtplib signs in with ASCII only. PLAIN takes UTF-8 (RFC 4616).
    plain, *both = (
        base64.b64encode(text.encode()).decode()
        for text in (f"\0{user}\0{password}", user, password)
    )
    takes_plain = "PLAIN" in smtp.esmtp_features.get("auth", "PLAIN").upper()
    for step in [f"AUTH PLAIN {plain}"] if takes_plain else ["AUTH LOGIN", *both]:
        code, answer = smtp.docmd(step)
    if code != 235:
        raise smtplib.SMTPAuthenticationError(code, answer)


def connection_error(url: str) -> str:
    """Open a session and end it, with at most three seconds for each step. Return why
    that failed, as a sentence; empty if it worked.

    No message is sent. The sentence may be shown on a page: it quotes the server, and
    never contains the password.
    """
    try:
        server = Server.from_url(url)
        with connect(server, connect_timeout=3, timeout=3) as smtp:
            smtp.noop()
    except smtplib.SMTPAuthenticationError as error:
        reply = error.smtp_error
        if isinstance(reply, bytes):
            reply = reply.decode("utf-8", "replace")
        return f"{server} does not accept the user and password in EMAIL_URL: {error.smtp_code} {reply[:200]}"
    except (smtplib.SMTPException, OSError, UnicodeError, ValueError) as error:
        return f"{server} cannot be used: {str(error)[:200] or type(error).__name__}."
    return ""


def takes_utf8(server: Server) -> bool:
    """Whether the mail server takes addresses with letters beyond ASCII before the @
    (RFC 6531). It is asked, with at most three seconds for each step; one that does not
    answer may take them.
    """
    with (
        suppress(smtplib.SMTPException, OSError, UnicodeError),
        connect(server, connect_timeout=3, timeout=3) as smtp,
    ):
        return smtp.has_extn("smtputf8")
    return True


def limit(smtp: smtplib.SMTP, seconds: float) -> None:
    """Set the time limit of each later step."""
    if smtp.sock is not None:
        smtp.sock.settimeout(seconds)


@cache
def _tls() -> ssl.SSLContext:
    # Loading the system's certificates takes as long as sending a message, so it is
    # done once per process.
    return ssl.create_default_context()
