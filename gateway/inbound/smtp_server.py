"""The SMTP listener, which takes in mail for the gateway's mailboxes: a thread with its
own event loop, its sessions with clients, and their queries of the database.

It runs in the Celery worker that the launcher chooses (INBOUND), beside the worker's
tasks: a process of its own would cost as much memory as a worker.

No relaying, no AUTH, no STARTTLS; VRFY reveals nothing. A mail server in front can add
these: docs/operators/email.md. Database work runs in one thread. Messages are read by
the parser, one of each sender at a time, so that a hostile message delays only others
of its sender. All messages that are being received share one budget of memory, and no
client address gets more than its share of sessions and memory: whoever sends chooses
the envelope sender. Of a relay in TRUSTED_RELAYS each sender has such a share.
"""

import asyncio
import logging
import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from aiosmtpd.smtp import SMTP
from celery import bootsteps
from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections, connections
from django.utils import timezone

from common.addresses import is_within, network_of
from common.desk_mail import MAX_REPLY, report_reply
from common.return_addresses import ForgedAddress, name_in
from gateway.inbound.receive import (
    ForgedReport,
    ReportTooEarly,
    digest_of,
    read_mail,
    receive_mail,
    take_report,
)
from gateway.inbound.received_mail import MAX_LINES, NotAccepted
from gateway.lookups import mailbox_for
from gateway.models import Mailbox

T = TypeVar("T")
log = logging.getLogger(__name__)

# Sessions at a time. A message may take five minutes, so a few slow clients must not
# take all places.
MAX_SESSIONS = 300
# Postfix's limit for one client address is the same. A mail server in front is one
# address, and opens 20 sessions unless told otherwise.
MAX_SESSIONS_OF_ADDRESS = 50
# The last RESERVED places are for addresses with fewer sessions than FEW, so that no
# handful of addresses takes all places.
RESERVED = 60
FEW = 3
# Bytes of all messages that are being received or stored, and of those of one client
# address.
MAX_BYTES = 64 * 1024 * 1024
MAX_BYTES_OF_ADDRESS = 32 * 1024 * 1024
# Messages that are being read by the parser, and those of one client address. Of one
# sender at an address it is one.
MAX_READING = 40
MAX_READING_OF_ADDRESS = 10
# After this many idle seconds the connection to the database is closed.
IDLE_SECONDS = 10
UNKNOWN = "550 5.1.1 There is no such mailbox here"
AWAY = "451 4.3.0 The mail cannot be stored at the moment, try again later"
LOOP = "554 5.4.6 The message was sent from this mailbox: this is a loop"
FORGED = "550 5.7.1 This is not a valid report about mail that was sent from here"
TAKEN = "250 2.0.0 The mail is stored"
MAX_MESSAGE = 25 * 1024 * 1024
MAX_RECIPIENTS = 100
# A client that guesses addresses is disconnected.
MAX_UNKNOWN = 20
# Seconds for the next command, and for all commands up to DATA. RFC 5321 suggests five
# minutes, but mail servers need that long only for the message itself: a client that
# waits before it only occupies a session.
COMMAND_SECONDS = 30
SECONDS_BEFORE_DATA = 60
# Seconds for a whole message, and for storing it.
MESSAGE_SECONDS = 300
# How often each command may come in a session; a busy server that reuses its
# connections stays well below.
_CALLS = {"*": 50, "MAIL": 1_000, "RCPT": 5_000, "DATA": 1_000, "RSET": 1_000}
_TOO_LATE = b"421 4.4.2 The connection waited too long, try again later\r\n"


class Reception:
    """What all sessions of a listener share: their number, their memory, and the
    threads that look up recipients, read mail and store it. Used from the listener's
    event loop alone.
    """

    def __init__(self) -> None:
        self.connections: set[asyncio.WriteTransport] = set()
        self.sessions_of: Counter[str] = Counter()
        # How many more bytes may be received, and how many each share has now.
        self.bytes = MAX_BYTES
        self.bytes_of: Counter[str] = Counter()
        self._storing = ThreadPoolExecutor(1, "inbound-store")
        self._reading = ThreadPoolExecutor(MAX_READING, "inbound-read")
        # Forgotten when nobody waits for one any more.
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._idle: asyncio.TimerHandle | None = None

    def has_room_for(self, address: str) -> bool:
        """Whether one more session of this address may begin."""
        of_address = self.sessions_of[address]
        free = MAX_SESSIONS - len(self.connections)
        return (
            of_address < MAX_SESSIONS_OF_ADDRESS
            and free > 0
            and (free > RESERVED or of_address < FEW)
        )

    def take_bytes(self, share: str, size: int) -> bool:
        """Reserve memory for `size` more bytes of this share; return whether there was
        enough.
        """
        if size > self.bytes or self.bytes_of[share] + size > MAX_BYTES_OF_ADDRESS:
            return False
        self.bytes -= size
        self.bytes_of[share] += size
        return True

    def give_bytes_back(self, share: str, size: int) -> None:
        """Free memory that was reserved."""
        self.bytes += size
        self.bytes_of[share] -= size
        if not self.bytes_of[share]:
            del self.bytes_of[share]

    async def handle_RCPT(  # noqa: N802 - the name that aiosmtpd calls
        self,
        server: "InboundSession",
        session: Any,
        envelope: Any,
        address: str,
        options: list[str],
    ) -> str:
        """Answer RCPT. A recipient is accepted if it is one of our mailboxes, or the
        return or reply address of a mail that was sent from here.
        """
        if len(envelope.rcpt_tos) >= MAX_RECIPIENTS:
            return f"452 4.5.3 At most {MAX_RECIPIENTS} recipients"
        try:
            is_known = bool(
                name_in(address) or await self._in_database(mailbox_for, address)
            )
        except ForgedAddress:
            is_known = False
        except (DatabaseError, InterfaceError) as error:
            log.warning(
                "recipient not looked up", extra={"reason": type(error).__name__}
            )
            return AWAY
        if is_known:
            envelope.rcpt_tos.append(address)
            return "250 2.1.5 OK"
        server.unknown += 1
        if server.unknown > MAX_UNKNOWN:
            # Closes the connection once the answer is out.
            server.loop.call_soon(server.transport.close)
            return "421 4.7.0 Too many unknown recipients"
        return UNKNOWN

    def _turn(self, name: str, most: int) -> asyncio.Semaphore:
        return self._turns.setdefault(name, asyncio.Semaphore(most))

    async def take_in(
        self, *, content: bytes, share: str, sender: str, recipients: list[str]
    ) -> str:
        """Store a message for all its recipients. Returns the SMTP reply, which says
        that the mail is stored only after everything is committed.

        After a temporary error the sending server tries again; a mailbox that has
        stored the message gets no second copy.
        """

        def store(recipient: str) -> str:
            # Returns what became of the message for this recipient.
            if "-" in (name := name_in(recipient)):
                # A reply to the desk. Only programs send from the empty address. If
                # Redis is away, the error makes the sending server come again.
                if sender and not mail.automatic:
                    report_reply.delay(name, mail.sender, mail.text[:MAX_REPLY])
                return "reply"
            mailbox = mailbox_for(recipient)
            if mail.report and take_report(
                mail.report, mailbox, recipient=recipient, sender=sender
            ):
                return "reported"
            if mailbox is None and (email_id := name_in(recipient)):
                # Automatic replies go to the return address too (RFC 3834).
                mailbox = Mailbox.objects.filter(
                    emails=email_id, is_active=True, account__is_active=True
                ).first()
                recipient = mailbox.address if mailbox else recipient
            if mailbox is None:
                return "unknown"
            return receive_mail(
                mailbox, mail, digest=digest, recipient=recipient, sender=sender
            )

        try:
            async with (
                self._turn(f"{share} {sender}", 1),
                self._turn(share, MAX_READING_OF_ADDRESS),
            ):
                mail = await asyncio.get_running_loop().run_in_executor(
                    self._reading, read_mail, content, share, sender
                )
            digest = digest_of(content, now=timezone.now())
            results = [await self._in_database(store, one) for one in recipients]
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

    async def _in_database(self, work: Callable[[str], T], recipient: str) -> T:
        # Returns `work(recipient)`, run in the thread for the database, whose
        # connection is closed after some idle seconds.
        if self._idle:
            self._idle.cancel()
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(
                self._storing, with_fresh_connection, work, recipient
            )
        finally:
            self._idle = loop.call_later(
                IDLE_SECONDS, self._storing.submit, connections.close_all
            )

    def close(self) -> None:
        """Finish the work that was begun, and close the database connection."""
        if self._idle:
            self._idle.cancel()
        self._storing.submit(connections.close_all)
        self._storing.shutdown()
        self._reading.shutdown()


def with_fresh_connection(work: Callable[[str], T], recipient: str) -> T:
    """Return `work(recipient)`, which uses the database; stale connections are
    closed.
    """
    close_old_connections()
    try:
        return work(recipient)
    finally:
        close_old_connections()


class InboundSession(SMTP):  # type: ignore[misc]
    """One SMTP session with a client."""

    # Characters in a line of a message; commands have limits of their own. Mail servers
    # break lines at 1,000, scripts often do not.
    line_length_limit = 16_000

    def __init__(
        self, reception: Reception, *, peer: str, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(
            reception,
            data_size_limit=MAX_MESSAGE,
            enable_SMTPUTF8=True,
            hostname=socket.gethostname(),
            ident="ESMTP Countersign",
            timeout=COMMAND_SECONDS,
            command_call_limit=_CALLS,
            auth_exclude_mechanism=("LOGIN", "PLAIN"),
            loop=loop,
        )
        self._reception = reception
        self._is_relay = is_within(peer, settings.TRUSTED_RELAYS)
        # Against what the message counts that is being received, and its bytes so far.
        self._address = self._share = network_of(peer)
        self._held = 0
        # How many recipients of this session do not exist here.
        self.unknown = 0
        self._until_data: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.WriteTransport) -> None:
        """Count the session, and begin it."""
        self._reception.connections.add(transport)
        self._reception.sessions_of[self._address] += 1
        super().connection_made(transport)
        self._expect_data()

    def connection_lost(self, error: Exception | None) -> None:
        """Count the session no more, and end it."""
        self._reception.connections.discard(self.transport)
        self._reception.sessions_of[self._address] -= 1
        if not self._reception.sessions_of[self._address]:
            del self._reception.sessions_of[self._address]
        self._stop_expecting_data()
        super().connection_lost(error)

    def _expect_data(self) -> None:
        """Start the timer within which the client must begin its next message, whatever
        commands come before it.
        """
        self._stop_expecting_data()
        self._until_data = self.loop.call_later(SECONDS_BEFORE_DATA, self._timeout_cb)

    def _stop_expecting_data(self) -> None:
        if self._until_data:
            self._until_data.cancel()

    def _timeout_cb(self) -> None:
        """Tell the client that it waited too long, and close the connection."""
        self.transport.write(_TOO_LATE)
        super()._timeout_cb()

    async def handle_exception(self, error: Exception) -> str:
        """Return the reply after a fault of ours; the sending server tries again."""
        log.error("session failed", extra={"reason": type(error).__name__})
        return "451 4.3.0 Something went wrong here, try again later"

    async def smtp_DATA(self, arg: str | None) -> None:  # noqa: N802
        """Receive a message, have it stored, and send the reply."""
        if await self.check_helo_needed():
            return
        if arg or not self.envelope.rcpt_tos:
            await self.push(
                "501 5.5.4 Syntax: DATA" if arg else "503 5.5.1 Name a recipient first"
            )
            return
        envelope = self.envelope
        # Reports and automatic replies have an empty sender.
        sender = envelope.mail_from.removeprefix("<>")
        if self._is_relay:
            self._share = f"{self._address} {sender}"
        try:
            self._stop_expecting_data()
            self._reset_timeout(MESSAGE_SECONDS)
            await self.push("354 End data with <CR><LF>.<CR><LF>")
            content, reply = await self._read_message()
            # Storing may take longer than the client's time limit.
            self._reset_timeout(MESSAGE_SECONDS)
            self._set_post_data_state()
            await self.push(
                reply
                or await self._reception.take_in(
                    content=content,
                    share=self._share,
                    sender=sender,
                    recipients=envelope.rcpt_tos,
                )
            )
            self._reset_timeout()
            self._expect_data()
        finally:
            self._give_back()

    async def _read_message(self) -> tuple[bytes, str]:
        """Read to the final dot. Returns the message and an empty reply, or the SMTP
        reply that refuses it.
        """
        data = bytearray()
        lines = 0
        reply = ""
        at_line_start = True
        while True:
            # The next line, or a piece of one that is too long.
            is_whole_line = True
            try:
                line = await self._reader.readuntil(b"\r\n")
            except asyncio.LimitOverrunError as error:
                is_whole_line = False
                line = await self._reader.read(error.consumed)
            if at_line_start and line == b".\r\n":
                return bytes(data), reply
            if not reply:
                lines += 1
                if not is_whole_line:
                    reply = "500 5.5.2 A line is too long"
                elif len(data) + len(line) > MAX_MESSAGE:
                    reply = "552 5.3.4 The message is larger than 25 MB"
                elif lines > MAX_LINES:
                    reply = f"554 5.6.0 The message has more than {MAX_LINES} lines"
                elif not self._reception.take_bytes(self._share, len(line)):
                    reply = "452 4.3.1 Too much mail at this moment, try again later"
                else:
                    self._held += len(line)
                data += line[1:] if at_line_start and line.startswith(b".") else line
            if reply and data:
                # Read and discard the rest: the reply is due only after the final dot.
                data.clear()
                self._give_back()
            at_line_start = is_whole_line

    def _give_back(self) -> None:
        self._reception.give_bytes_back(self._share, self._held)
        self._held = 0


class NewConnection(asyncio.Protocol):
    """Begins a session, or answers 421 if there is no room. That is decided only here,
    because the client's address is not known before the connection is made.
    """

    def __init__(
        self, reception: Reception, *, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._reception = reception
        self._loop = loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hand the connection to a new session, or close it."""
        assert isinstance(transport, asyncio.WriteTransport)
        # The address is missing if the connection has closed already.
        peer = (transport.get_extra_info("peername") or [""])[0]
        if not self._reception.has_room_for(network_of(peer)):
            transport.write(b"421 4.3.2 Too many connections, try again later\r\n")
            transport.close()
            return
        session = InboundSession(self._reception, peer=peer, loop=self._loop)
        transport.set_protocol(session)
        session.connection_made(transport)


class Listener:
    """Listens from `start` to `stop`; calls `died` if its thread ends in between."""

    def __init__(
        self, *, host: str, port: int, died: Callable[[], None] = lambda: None
    ) -> None:
        # The port is taken at once, so that a port in use is known before anything else
        # starts.
        version = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server(
            (host, port), family=version, dualstack_ipv6=host == "::"
        )
        self.port: int = self._socket.getsockname()[1]
        self._died = died
        self._reception = Reception()
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="inbound")

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()
        log.info("listening for mail", extra={"port": self.port})

    def stop(self) -> None:
        """End the thread. A message that is being stored is stored; clients send again
        what was not acknowledged.
        """
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except Exception:
            log.exception("listener failed")
        finally:
            if not self._ended.is_set():
                self._died()

    async def _serve(self) -> None:
        server = await self._loop.create_server(
            lambda: NewConnection(self._reception, loop=self._loop),
            sock=self._socket,
            backlog=100,
        )
        await self._ended.wait()
        server.close()
        for connection in self._reception.connections:
            connection.abort()
        # Lets the tasks end that the abort cancels.
        await asyncio.sleep(0)
        self._reception.close()


class InboundStep(bootsteps.StartStopStep):
    """A step of the Celery worker: starts the listener after the pool, and ends the
    worker if the listener dies.
    """

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any) -> None:
        self.listener: Any = None

    def start(self, worker: Any) -> None:
        """Begin to listen. A port in use ends the worker, with the reason in its
        log.
        """
        self.listener = Listener(
            host=settings.INBOUND_HOST,
            port=settings.INBOUND_PORT,
            # The supervisor starts another worker; a worker without its listener would
            # go unnoticed.
            died=lambda: os.kill(os.getpid(), signal.SIGTERM),
        )
        self.listener.start()

    def stop(self, worker: Any) -> None:
        """End the listener with the worker."""
        if self.listener is not None:
            self.listener.stop()
