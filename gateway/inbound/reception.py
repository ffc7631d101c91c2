"""What every SMTP session asks: is this recipient ours, is there room, and is this message stored.

Work with the database runs in one thread and reading of messages in another, one message at a time, so that a hostile
one holds up neither the network nor the questions of others. Whoever waits holds its own message, within one budget.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from django.db import DatabaseError, InterfaceError, close_old_connections, connections
from django.utils import timezone

from gateway.inbound.mail import Mail, NotAccepted, read_mail
from gateway.inbound.receive import digest_of, mailbox_for, receive_mail, sending_mailbox
from gateway.reports import ForgedReport, ReportTooEarly, take_report
from gateway.verp import ForgedAddress, email_id_in

T = TypeVar("T")
log = logging.getLogger(__name__)

# A session may take five minutes, so there must be more places than a few slow clients take.
MOST_SESSIONS = 300
# All messages that are being received or stored, together.
MOST_BYTES = 64 * 1024 * 1024
# After so many quiet seconds the connection to the database is given back.
IDLE_SECONDS = 10

UNKNOWN = "550 5.1.1 There is no such mailbox here"
AWAY = "451 4.3.0 The mail cannot be stored at the moment, try again later"
LOOP = "554 5.4.6 The message was sent from this mailbox: this is a loop"
FORGED = "550 5.7.1 This is no report about mail that was sent from here"
TAKEN = "250 2.0.0 The mail is stored"


@dataclass
class Room:
    """Who is here, and how much more may be taken in."""

    connections: set[asyncio.WriteTransport] = field(default_factory=set)
    bytes: int = MOST_BYTES


@dataclass
class Reception:
    """Shared by all sessions of a listener, and used from its event loop alone."""

    room: Room = field(default_factory=Room)

    def __post_init__(self) -> None:
        self._storing = ThreadPoolExecutor(1, "inbound-store")
        self._reading = ThreadPoolExecutor(1, "inbound-read")
        self._turn = asyncio.Lock()
        self._idle: asyncio.TimerHandle | None = None

    async def admit(self, address: str) -> str:
        """Return the answer to a recipient."""
        try:
            if email_id_in(address):
                return "250 2.1.5 OK"
            found = await self._in_database(partial(mailbox_for, address))
        except ForgedAddress:
            return UNKNOWN
        except (DatabaseError, InterfaceError) as error:
            log.warning("recipient not looked up", extra={"reason": type(error).__name__})
            return AWAY
        return "250 2.1.5 OK" if found else UNKNOWN

    async def take_in(self, *, content: bytes, sender: str, recipients: list[str]) -> str:
        """Store a message for all its recipients; return the answer, which is good only after everything is committed.

        After any other answer the sending server comes again, and each mailbox that has the message keeps its one.
        """
        try:
            async with self._turn:
                mail = await asyncio.get_running_loop().run_in_executor(self._reading, read_mail, content)
            store = partial(_store, mail=mail, digest=digest_of(content, now=timezone.now()), sender=sender)
            results = [await self._in_database(partial(store, recipient=one)) for one in recipients]
        except NotAccepted as refusal:
            return str(refusal)
        except ReportTooEarly:
            return AWAY
        except ForgedReport:
            log.warning("report refused as forged", extra={"sender": sender[:100]})
            return FORGED
        except Exception as error:  # noqa: BLE001 - whatever it is, the sending server keeps the mail and comes again
            log.warning("mail not stored", extra={"reason": type(error).__name__})
            return AWAY
        if set(results) == {"loop"}:
            return LOOP
        return TAKEN if any(result != "unknown" for result in results) else UNKNOWN

    async def _in_database(self, work: Callable[[], T]) -> T:
        if self._idle:
            self._idle.cancel()
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._storing, _with_fresh_connection, work)
        finally:
            self._idle = loop.call_later(IDLE_SECONDS, self._storing.submit, connections.close_all)

    def close(self) -> None:
        """Let what has begun come to its end, and give the connection back."""
        if self._idle:
            self._idle.cancel()
        self._storing.submit(connections.close_all)
        self._storing.shutdown()
        self._reading.shutdown()


def _with_fresh_connection(work: Callable[[], T]) -> T:
    close_old_connections()
    try:
        return work()
    finally:
        close_old_connections()


def _store(*, mail: Mail, digest: str, sender: str, recipient: str) -> str:
    mailbox = mailbox_for(recipient)
    if mail.report is not None:
        report = partial(take_report, report=mail.report, recipient=recipient, sender=sender, now=timezone.now())
        if report(mailbox=mailbox):
            return "reported"
    if mailbox is None and (email_id := email_id_in(recipient)):
        # Automatic replies go to the return address too (RFC 3834).
        mailbox = sending_mailbox(email_id)
        recipient = mailbox.address if mailbox else recipient
    if mailbox is None:
        return "unknown"
    return receive_mail(
        mailbox=mailbox, mail=mail, digest=digest, recipient=recipient, sender=sender, now=timezone.now()
    )
