"""Delivers one message to the mail server, one SMTP step at a time, and says whether
the server has it.

Until the bytes of the message are sent, every failure means that the server has
nothing. After that only the server's answer counts; without an answer nobody knows
whether it has the message. Every step has a time limit. After a slow failure the
process leaves the server alone for a while, so that a dead server does not slow down
every message.
"""

import re
import smtplib
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

from common.mail_addresses import quoted
from common.smtp import Server, connect, limit
from outgoing.backoff import retry_after_attempt

# Seconds for the steps from the sender to the last recipient together, checked before
# each recipient. The lease is checked once more before the message is sent.
OPENING_TIMEOUT = 25
# Seconds to send all bytes of a large message over a slow line.
MESSAGE_TIMEOUT = 60
# Seconds to wait for the answer: servers scan and store before they answer.
ANSWER_TIMEOUT = 30
# Seconds between attempts: about two days in all, as mail servers retry. Then the
# message fails.
RETRIES = (10, 60, 300, 900, 1800, 3600, 3600, 7200, *(14400,) * 11)
# Attempts that end with the worker's death count too, so that no message kills workers
# for ever.
MAX_ATTEMPTS = len(RETRIES) + 3
# Reply codes that ask for a sign-in, or for another kind of sign-in.
_SIGN_IN = frozenset({530, 534, 535, 538})
# An enhanced code of a refusal (RFC 3463), and those that end a message: of a recipient
# who does not exist or takes no mail, but not of the sender's address; and of the size
# and the content of the whole message.
ENHANCED = re.compile(r"(?<![\d.])[245]\.\d{1,3}\.\d{1,3}(?!\.?\d)")
_OF_RECIPIENT = re.compile(r"5\.(?:1\.(?![78]$)|2\.)")
_OF_CONTENT = re.compile(r"5\.(?:[267]\.|3\.4$)")
# The name that a server gives to a message that it took: "Ok 010f-0001", "OK id=...",
# "Ok: queued as ...". It has a digit.
_QUEUED = re.compile(
    r"\b(?:ok|queued as)[ :=]{1,3}(?:queued as )?(?:id=)?<?(?=[^\s>]{0,99}[0-9])([A-Z0-9][\w.+=-]{7,99})",
    re.IGNORECASE | re.ASCII,
)
# Without such a code: reply codes that are about the mailbox, unless the text is about
# something else.
ABOUT_MAILBOX = frozenset({550, 551, 553})
OTHER_MATTERS = re.compile(
    r"relay|rcpthosts|polic|permi|prohibit|denied|deny|allow|spam|block|black|listed|reputation|auth|sender|\bfrom\b"
    r"|spf|dkim|dmarc|limit|quota|full|rate|try again|tempor",
    re.IGNORECASE,
)
# Reply code and text of the server by recipient.
Replies = dict[str, tuple[int, str]]
# Seconds. A shorter failure (nobody listens, a refusal) costs little to repeat.
SLOW = 2.0
# Seconds for which no message is tried after a slow failure.
REST = 30.0


class HandoverFailed(Exception):
    """The server does not have the message. `permanent`: another attempt would not
    help. `refused` are the recipients that it refused.
    """

    def __init__(
        self, sentence: str, *, permanent: bool = False, refused: Replies | None = None
    ) -> None:
        super().__init__(sentence)
        self.permanent = permanent
        self.refused = refused or {}


class FateUnknown(Exception):
    """The message was sent and no answer came: the server may have it."""


class LeaseLost(Exception):
    """`before_message` said no, because another worker has the message or it may not be
    sent any more. The server does not have it.
    """


@dataclass(frozen=True)
class HandoverResult:
    """The server has the message, for all recipients but `refused`. `reports_delivery`:
    it will report the delivery (RFC 3461). `relay_id` is its name for the message, which
    some servers put into Message-ID.
    """

    refused: Replies
    reports_delivery: bool
    relay_id: str = ""


class State:
    """Until when this process leaves the mail server alone, on the monotonic clock."""

    asked_again_at = 0.0


@contextmanager
def watched() -> Iterator[None]:
    """Run one attempt. After a slow failure, the server is left alone for REST
    seconds.
    """
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
    named: Collection[str] = (),
) -> HandoverResult:
    """Deliver `message` to the mail server. `before_message` is called right before the
    bytes of the message are sent; if it returns False, they are not.

    With `accept_partial` False, a recipient that is refused for now makes the whole
    attempt fail, so that a later attempt gives nobody the message twice. It also fails
    if that leaves nobody of `named`, for whom the message is: the others get copies. If
    the server reports delivery, its reports repeat `envelope_id`. Raises HandoverFailed,
    FateUnknown or LeaseLost.
    """
    with _session(server) as smtp:
        began = time.monotonic()
        # Nobody reads reports about mail without an id.
        reports_delivery = bool(envelope_id) and server.dsn and smtp.has_extn("dsn")
        options = ["RET=HDRS", f"ENVID={envelope_id}"] if reports_delivery else []
        _step(smtp.mail(sender, options))
        refused: Replies = {}
        for recipient in recipients:
            if time.monotonic() - began > OPENING_TIMEOUT:
                raise HandoverFailed("the mail server is too slow")
            written = quoted(recipient)
            options_of_recipient = []
            if reports_delivery:
                # RFC 3461: `+` and `=` are written as their codes.
                encoded = written.replace("+", "+2B").replace("=", "+3D")
                options_of_recipient = [
                    "NOTIFY=SUCCESS,FAILURE,DELAY",
                    f"ORCPT=rfc822;{encoded}",
                ]
            code, text = _reply(smtp.rcpt(written, options_of_recipient))
            if code // 100 != 2:
                refused[recipient] = (code, text)
        refused_for_now = [
            address
            for address, reply in refused.items()
            if not _is_about_recipient(*reply)
        ]
        if len(refused) == len(recipients):
            code, text = next(iter(refused.values()))
            raise HandoverFailed(
                f"{code} {text}", permanent=not refused_for_now, refused=refused
            )
        wanted = set(named)
        only_copies = wanted <= refused.keys() and wanted.intersection(refused_for_now)
        if refused_for_now and (only_copies or not accept_partial):
            raise HandoverFailed(
                f"{len(refused_for_now)} recipients are refused for now",
                refused=refused,
            )
        _step(smtp.docmd("DATA"), wanted=354)
        if not before_message():
            raise LeaseLost
        answer = _offer(smtp, message)
        named_by_server = _QUEUED.search(answer)
        relay_id = named_by_server[1] if named_by_server else ""
        return HandoverResult(refused, reports_delivery, relay_id)


@contextmanager
def _session(server: Server) -> Iterator[smtplib.SMTP]:
    """Connect and sign in. Every SMTP or network error inside the `with` becomes
    HandoverFailed: the server does not have the message.
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
    # Returns code and text of a reply. With 421 the server ends the session.
    code, raw = reply
    text = raw.decode("utf-8", "replace")
    if code == 421:
        raise HandoverFailed(f"421 {text}")
    return code, text[:500]


def _step(reply: tuple[int, bytes], *, wanted: int = 250) -> None:
    # Raises HandoverFailed unless the reply code is `wanted`.
    code, text = _reply(reply)
    if code != wanted:
        # Before the message is sent, only its size can be known.
        is_too_large = code == 552 or (code > 500 and "5.3.4" in text)
        raise HandoverFailed(f"{code} {text}", permanent=is_too_large)


def _is_about_recipient(code: int, text: str) -> bool:
    """Whether a refused recipient will always be refused. All else is about us, and
    the message waits until the operator or the server has repaired it.
    """
    if code < 500:
        return False
    if enhanced := ENHANCED.search(text):
        return bool(_OF_RECIPIENT.match(enhanced[0]))
    return code == 552 or (code in ABOUT_MAILBOX and not OTHER_MATTERS.search(text))


def _offer(smtp: smtplib.SMTP, message: bytes) -> str:
    """Send the bytes of the message and return the text of the answer. Raises
    FateUnknown if none comes, or HandoverFailed.
    """
    # A dot at the beginning of a line is doubled.
    data = (b"\n" + message).replace(b"\n.", b"\n..")[1:]
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
    if code // 100 not in (2, 4, 5):
        raise FateUnknown(f"The answer to the message was unusable: {code}")
    reason = text.decode("utf-8", "replace")[:500]
    if code >= 400:
        # Whether it refuses the message for good, because of its size or content.
        enhanced = ENHANCED.search(reason)
        is_about_content = not enhanced or bool(_OF_CONTENT.match(enhanced[0]))
        is_permanent = code >= 500 and code not in _SIGN_IN and is_about_content
        raise HandoverFailed(f"{code} {reason}", permanent=is_permanent)
    with suppress(smtplib.SMTPException, OSError):
        smtp.putcmd("QUIT")
    return reason


def retry_wait(error: HandoverFailed, attempts: int) -> timedelta | None:
    """Return how long to wait after attempt number `attempts` failed with `error`; None
    if no further attempt is made.
    """
    if error.permanent:
        return None
    seconds = retry_after_attempt(attempts, schedule=RETRIES, jitter=0.2)
    return None if seconds is None else timedelta(seconds=seconds)


def seconds_until_asked_again() -> float:
    """Return for how many seconds the mail server is to be left alone; 0 if it may be
    asked now.
    """
    return max(0.0, State.asked_again_at - time.monotonic())
