"""Hands one message to the mail server, one step at a time, and returns what is known
afterwards.

The bytes of the message are the point of no return. Before them every failure means
that the server has nothing; after them only its answer counts, and without one the fate
is unknown. Every step has a time limit. After a slow failure the process leaves the
server alone for a while, so that a dead server does not slow down every message.
"""

import re
import smtplib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

from common.smtp import Server, connect, limit
from outgoing.backoff import retry_after_attempt

# All steps before the message together; keeps an attempt well inside its lease.
OPENING_TIMEOUT = 25
# For all bytes of a large message over a slow line.
MESSAGE_TIMEOUT = 60
# Servers scan and store before they answer.
ANSWER_TIMEOUT = 30
# About two days, as mail servers retry; then the message fails.
RETRIES = (10, 60, 300, 900, 1800, 3600, 3600, 7200, *(14400,) * 11)
# Attempts that end with the worker's death count too, so that no message kills workers
# for ever.
MAX_ATTEMPTS = len(RETRIES) + 3
# Replies that ask for a sign-in, or for another kind of it.
_SIGN_IN = frozenset({530, 534, 535, 538})
_ABOUT_THE_ADDRESS = re.compile(r"\b5\.[0-6]\.\d")
Replies = dict[str, tuple[int, str]]
# Shorter failures (nobody listens, a refusal) cost nothing to try again.
SLOW = 2.0
# For how long no message is tried after a slow failure.
REST = 30.0


class HandoverFailed(Exception):
    """The server has nothing. `permanent` when it will not have it another time either."""

    def __init__(
        self, sentence: str, *, permanent: bool = False, refused: Replies | None = None
    ) -> None:
        super().__init__(sentence)
        self.permanent = permanent
        self.refused = refused or {}


class FateUnknown(Exception):
    """The message was offered and no answer came: the server may have it."""


class LeaseLost(Exception):
    """Another worker has claimed the message; nothing was offered."""


@dataclass(frozen=True)
class HandoverResult:
    """The server has the message for all recipients but `refused`, and reports its
    delivery or not (RFC 3461).
    """

    refused: Replies
    reports_delivery: bool


class State:
    """When the mail server may be asked again, on the monotonic clock."""

    asked_again_at = 0.0


@contextmanager
def watched() -> Iterator[None]:
    """Run one attempt; a slow failure makes the server rest."""
    began = time.monotonic()
    try:
        yield
    except (HandoverFailed, FateUnknown):
        ended = time.monotonic()
        if ended - began > SLOW:
            State.asked_again_at = ended + REST
        raise


@watched()
def hand_over(
    server: Server,
    sender: str,
    recipients: list[str],
    message: bytes,
    *,
    accept_partial: bool,
    before_message: Callable[[], bool],
    envelope_id: str = "",
) -> HandoverResult:
    """Deliver `message` to the mail server, calling `before_message` right before its
    bytes leave.

    Reports of its delivery, where they are asked for, repeat `envelope_id`.

    With `accept_partial` False a recipient that is refused only for now puts the whole
    message off, so that nobody gets it twice. Raises HandoverFailed, FateUnknown or
    LeaseLost (when `before_message` says False).
    """
    with _session(server) as smtp:
        began = time.monotonic()
        reports_delivery = server.dsn and smtp.has_extn("dsn")
        options = ["RET=HDRS", f"ENVID={envelope_id}"] if reports_delivery else []
        _step(smtp.mail(sender, options))
        refused: Replies = {}
        for recipient in recipients:
            if time.monotonic() - began > OPENING_TIMEOUT:
                raise HandoverFailed("the mail server is too slow")
            notices = []
            if reports_delivery:
                # RFC 3461: `+` and `=` are written as their codes.
                written = recipient.replace("+", "+2B").replace("=", "+3D")
                notices = ["NOTIFY=SUCCESS,FAILURE,DELAY", f"ORCPT=rfc822;{written}"]
            code, text = _reply(smtp.rcpt(recipient, notices))
            if code not in (250, 251):
                refused[recipient] = (code, text)
        for_now = [address for address, (code, _) in refused.items() if code < 500]
        if len(refused) == len(recipients):
            ours = all(_is_for_the_operator(*reply) for reply in refused.values())
            code, text = next(iter(refused.values()))
            raise HandoverFailed(
                f"{code} {text}", permanent=not for_now and not ours, refused=refused
            )
        if for_now and not accept_partial:
            raise HandoverFailed(
                f"{len(for_now)} recipients are refused for now", refused=refused
            )
        _step(smtp.docmd("DATA"), wanted=354)
        if not before_message():
            raise LeaseLost
        _offer(smtp, message)
        return HandoverResult(refused, reports_delivery)


@contextmanager
def _session(server: Server) -> Iterator[smtplib.SMTP]:
    """Open, greet, secure and sign in; whatever fails in here and is not said otherwise
    means "not taken".
    """
    smtp: smtplib.SMTP | None = None
    try:
        smtp = connect(server)
        yield smtp
    except (smtplib.SMTPException, OSError, UnicodeError) as error:
        # Includes a refused sign-in: the operator has to repair it, and the message
        # waits.
        raise HandoverFailed(f"{type(error).__name__}: {error}") from error
    finally:
        if smtp is not None:
            smtp.close()


def _reply(reply: tuple[int, bytes]) -> tuple[int, str]:
    code, text = reply
    if code == 421:
        raise HandoverFailed("421 " + text.decode("utf-8", "replace"))
    return code, text.decode("utf-8", "replace")[:500]


def _step(reply: tuple[int, bytes], *, wanted: int = 250) -> None:
    code, text = _reply(reply)
    if code != wanted:
        raise HandoverFailed(
            f"{code} {text}",
            permanent=code >= 500 and not _is_for_the_operator(code, text),
        )


def _is_for_the_operator(code: int, text: str) -> bool:
    """Whether a refusal is about our sign-in and not about the message, which then
    waits for the operator.
    """
    if code in _SIGN_IN:
        return True
    is_relay = code >= 500 and "relay" in text.lower()
    return is_relay and not _ABOUT_THE_ADDRESS.search(text)


def _offer(smtp: smtplib.SMTP, message: bytes) -> None:
    """Send the bytes and wait for the answer."""
    data = re.sub(rb"(?m)^\.", b"..", message)
    end = b".\r\n" if data.endswith(b"\r\n") else b"\r\n.\r\n"
    try:
        limit(smtp, MESSAGE_TIMEOUT)
        smtp.send(data + end)
        limit(smtp, ANSWER_TIMEOUT)
        code, text = smtp.getreply()
    except (smtplib.SMTPException, OSError) as error:
        raise FateUnknown(
            f"{type(error).__name__} after the message was offered"
        ) from error
    if code != 250:
        raise HandoverFailed(
            f"{code} {text.decode('utf-8', 'replace')[:500]}", permanent=code >= 500
        )
    with suppress(smtplib.SMTPException, OSError):
        smtp.putcmd("QUIT")


def retry_wait(error: HandoverFailed, attempts: int) -> timedelta | None:
    """Return how long to wait after an attempt of this number failed; None: it is over."""
    if error.permanent:
        return None
    seconds = retry_after_attempt(attempts, schedule=RETRIES, jitter=0.2)
    return None if seconds is None else timedelta(seconds=seconds)


def seconds_until_asked_again() -> float:
    """Return for how many seconds the mail server is to be left alone; 0 when it can be
    asked.
    """
    return max(0.0, State.asked_again_at - time.monotonic())
