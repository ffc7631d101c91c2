"""Delivers one message to the mail server, one SMTP step at a time, and says whether
the server has it.

Until the end of the message is sent, every failure means that the server has nothing.
After that only the server's answer counts; without an answer nobody knows whether it
has the message. Every step has a time limit. After a slow failure the
process leaves the server alone for a while, so that a dead server does not slow down
every message.
"""

import re
import smtplib
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

from common.mail_addresses import quoted
from common.smtp import Server, connect, limit
from outgoing.backoff import retry_after_attempt

# Seconds from connecting to the last recipient together, checked before each recipient.
# The lease is checked once more before the message is sent.
OPENING_TIMEOUT = 60
# Further sessions for the recipients of a message, where a server takes some in each.
MOST_SESSIONS = 10
# Seconds to send all bytes of a large message over a slow line.
MESSAGE_TIMEOUT = 60
# Seconds to wait for the answer: servers scan and store before they answer.
ANSWER_TIMEOUT = 60
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
_OF_SIZE = re.compile(r"5\.(?:2\.3|3\.4)$")
_OF_CONTENT = re.compile(r"5\.(?:[267]\.|3\.4$)")
# The name that a server gives to a message that it took: "Ok 010f-0001", "OK id=...",
# "Ok: queued as ...". It has a digit, and is no number: that would be the time.
_QUEUED = re.compile(
    r"\b(?:ok|queued as)[ :=]{1,3}(?:queued as )?(?:id=)?<?"
    r"(?=[^\s>]{0,99}[0-9])(?![0-9]{1,99}\b)([A-Z0-9][\w.+=-]{7,99})",
    re.IGNORECASE | re.ASCII,
)
# Without such a code: reply codes that are about the mailbox, unless the text is about
# something else.
_ABOUT_MAILBOX = frozenset({550, 551, 553})
_OTHER_MATTERS = re.compile(
    r"relay|rcpthosts|polic|permi|prohibit|denied|deny|allow|spam|block|black|listed|reputation|auth|sender|\bfrom\b"
    r"|spf|dkim|dmarc|limit|quota|full|rate",
    re.IGNORECASE,
)
# Refusals that pass, or that the operator can end; not of an address that does not exist.
_PASSING = re.compile(
    r"(?is)\A(?!.*5\.1\.10?\b).*?(?:send ?as|submission|sending|not verified|\bhour|daily|\brate\b|try again|tempor"
    r"|authenticat)"
)
# Says that a recipient would be taken in another transaction.
_ENOUGH = re.compile(
    r"(?<![\d.])[45]\.5\.3(?![.\d])|too many recipients|per transaction", re.IGNORECASE
)
# Why a server does not take our mail, by the words of its reply, or of the error before
# one; the first line that fits counts.
_CAUSES_BY_WORDS = r"""
blocked spam|unsolicited|reputation|authentication.level|black.?list|block.?list|\blisted|\bspf\b|dkim|dmarc
quota quota|limit|\brate\b|exceed|throttl|too.many|daily|5\.4\.5
sign_in \A53[0458]\b|auth|credential|password|log.?in|sign(?:ed)?.?in|relay|5\.7\.[89]\b
sender sender|\bfrom\b|send.?as|not.(?:owned|verified)|5\.1\.[78]\b
blocked block|polic|denied|deny|banned|suspend|prohibit
unreachable \A\w{1,40}:|too.slow
other \A
""".split()
_CAUSES = [
    (cause, re.compile(words, re.IGNORECASE))
    for cause, words in zip(_CAUSES_BY_WORDS[::2], _CAUSES_BY_WORDS[1::2], strict=True)
]
NO_UTF8 = (
    "the mail server does not take addresses with letters beyond ASCII before the @"
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
    it will report the delivery (RFC 3461). `answer` is what it said to the message.
    """

    refused: Replies
    reports_delivery: bool
    answer: str = ""

    @property
    def relay_id(self) -> str:
        """The server's name for the message, which some put into Message-ID; empty if
        its answer has none.
        """
        named_by_server = _QUEUED.search(self.answer)
        return named_by_server[1] if named_by_server else ""


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
    accept_partial: bool = False,
    before_message: Callable[[], bool],
    envelope_id: str = "",
    named: Collection[str] = (),
) -> HandoverResult:
    """Deliver `message` to the mail server. `before_message` is called right before the
    bytes of the message are sent; if it returns False, they are not.

    A server that takes only some recipients in one transaction gets it in several.

    With `accept_partial` False, a recipient that is refused for now makes the whole
    attempt fail, so that a later attempt gives nobody the message twice. It also fails
    if that leaves nobody of `named`, for whom the message is: the others get copies. If
    the server reports delivery, its reports repeat `envelope_id`. Raises HandoverFailed,
    FateUnknown or LeaseLost.
    """
    began = time.monotonic()
    is_ascii = message.isascii() and "".join([sender, *recipients]).isascii()
    reports_delivery = False
    refused: Replies = {}
    # The sessions, and who gets the message in each.
    groups: list[tuple[smtplib.SMTP, list[str]]] = []
    # All are asked before anybody gets the message, so that a refusal for now can still
    # delay it for all.
    left = recipients
    with ExitStack() as sessions:
        while left:
            try:
                smtp = sessions.enter_context(_session(server))
                # Nobody reads reports about mail without an id.
                reports_delivery = bool(envelope_id) and smtp.has_extn("dsn")
                options = [f"SIZE={len(message)}"] if smtp.has_extn("size") else []
                if not is_ascii:
                    if not smtp.has_extn("smtputf8"):
                        raise HandoverFailed(NO_UTF8)
                    options.append("SMTPUTF8")
                if reports_delivery:
                    options += ["RET=HDRS", f"ENVID={envelope_id}"]
                _step(smtp.mail(sender, options))
                replies = {}
                for recipient in left:
                    if time.monotonic() - began > OPENING_TIMEOUT:
                        raise HandoverFailed("the mail server is too slow")
                    replies[recipient] = _ask(smtp, recipient, reports_delivery)
            except (HandoverFailed, smtplib.SMTPException, OSError) as error:
                if not groups:
                    raise
                replies = dict.fromkeys(left, (421, str(error)))
            taken = []
            left = []
            for recipient, (code, text) in replies.items():
                if code // 100 == 2:
                    taken.append(recipient)
                elif taken and len(groups) < MOST_SESSIONS and _ENOUGH.search(text):
                    left.append(recipient)
                else:
                    refused[recipient] = (code, text)
            if taken:
                groups.append((smtp, taken))
        refused_for_now = [
            address
            for address, reply in refused.items()
            if not is_about_recipient(*reply)
        ]
        if not groups:
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
        for smtp, _ in groups:
            _step(smtp.docmd("DATA"), wanted=354)
        if not before_message():
            raise LeaseLost
        (smtp, _), *others = groups
        until = time.monotonic() + MESSAGE_TIMEOUT + ANSWER_TIMEOUT
        said = _offer(smtp, message, until)
        for smtp, group in others:
            try:
                _offer(smtp, message, until)
            except HandoverFailed as error:
                # The first have the message, so that it is not tried again.
                refused |= dict.fromkeys(group, (450, f"only others have it: {error}"))
        return HandoverResult(refused, reports_delivery, said)


def _ask(smtp: smtplib.SMTP, recipient: str, reports_delivery: bool) -> tuple[int, str]:
    # Names a recipient to the server. Returns code and text of the reply.
    written = quoted(recipient)
    # RFC 3461: `+` and `=` are written as their codes.
    encoded = written.replace("+", "+2B").replace("=", "+3D")
    kind = "rfc822" if encoded.isascii() else "utf-8"
    options = ["NOTIFY=SUCCESS,FAILURE,DELAY", f"ORCPT={kind};{encoded}"]
    return _reply(smtp.rcpt(written, options if reports_delivery else ()))


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
        if smtp:
            # An error here would make another session's `with` say that the server has
            # nothing.
            with suppress(OSError):
                smtp.close()


def _reply(reply: tuple[int, bytes]) -> tuple[int, str]:
    # Returns code and text of a reply. With 421 the server ends the session.
    code, text = reply[0], _text(reply[1])
    if code == 421:
        raise HandoverFailed(f"421 {text}")
    return code, text


def _text(raw: bytes) -> str:
    # The database stores no U+0000.
    return raw.decode("utf-8", "replace").replace("\0", "\ufffd")[:500]


def _step(reply: tuple[int, bytes], *, wanted: int = 250) -> None:
    # Raises HandoverFailed unless the reply code is `wanted`.
    code, text = _reply(reply)
    if code != wanted:
        # Before the message is sent, only its size can be known.
        raise HandoverFailed(
            f"{code} {text}", permanent=_is_final(code, text, _OF_SIZE, code == 552)
        )


def _is_final(code: int, text: str, subject: re.Pattern[str], otherwise: bool) -> bool:
    """Whether a refusal stays, however long we wait and whatever the operator does: its
    enhanced code is about this subject. `otherwise` counts if it has none.
    """
    if code < 500 or code in _SIGN_IN or _PASSING.search(text):
        return False
    enhanced = ENHANCED.search(text)
    return bool(subject.match(enhanced[0])) if enhanced else otherwise


def cause_of(failure: HandoverFailed) -> str:
    """Return why the server did not take the message (common/waiting_mail.py)."""
    return next(cause for cause, words in _CAUSES if words.search(str(failure)))


def is_about_recipient(code: int, text: str) -> bool:
    """Whether a refused recipient will always be refused. All else is about us, and
    the message waits until the operator or the server has repaired it.
    """
    is_about_mailbox = code in _ABOUT_MAILBOX and not _OTHER_MATTERS.search(text)
    return _is_final(code, text, _OF_RECIPIENT, code == 552 or is_about_mailbox)


def _offer(smtp: smtplib.SMTP, message: bytes, until: float) -> str:
    """Send the bytes of the message and return the server's answer. Raises
    FateUnknown if no answer comes until this time (monotonic clock), or HandoverFailed.
    """
    if time.monotonic() >= until:
        raise HandoverFailed("the mail server is too slow")
    # A dot at the beginning of a line is doubled.
    data = (b"\n" + message).replace(b"\n.", b"\n..")[1:]
    end = b".\r\n" if data.endswith(b"\r\n") else b"\r\n.\r\n"
    failure: type[Exception] = HandoverFailed
    try:
        limit(smtp, MESSAGE_TIMEOUT)
        smtp.send(data)
        # Without this end, no server takes a message.
        failure = FateUnknown
        smtp.send(end)
        limit(smtp, max(1, until - time.monotonic()))
        reply = smtp.getreply()
    except (smtplib.SMTPException, OSError) as error:
        raise failure(
            f"{type(error).__name__} after the message was offered"
        ) from error
    code, reason = reply[0], _text(reply[1])
    if code // 100 not in (2, 4, 5):
        raise FateUnknown(f"The answer to the message was unusable: {code}")
    if code >= 400:
        raise HandoverFailed(
            f"{code} {reason}", permanent=_is_final(code, reason, _OF_CONTENT, True)
        )
    with suppress(smtplib.SMTPException, OSError):
        smtp.putcmd("QUIT")
    return f"{code} {reason}"


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
