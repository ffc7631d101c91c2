"""An agent that writes mail through the MultiMail API, as a customer's agent would.
Knows the gateway by URL only.

It stores its progress in a file, so that a restart neither repeats nor skips a message;
one whose answer was lost is sent again under the same idempotency key. The customers
write to its mailboxes by SMTP, as anybody would: the same bytes each time.
"""

import base64
import json
import logging
import random
import secrets
import smtplib
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from common.credentials import read_credentials, replace_private
from demo.messages import MESSAGES, OPENING
from demo.messages.message import Message, blanks, fill_in

log = logging.getLogger("demo.agent")

TIMEOUT_SECONDS = 10.0
PAUSE_SECONDS = (60.0, 100.0)
LOOK_SECONDS = 2.0
MOST_WAITING = 25
LONGEST_LEAVING_SECONDS = 20
HEARSAY_SECONDS = 4.0
LONGEST_DELIVERY_SECONDS = 10.0
SECOND_THOUGHT_SECONDS = 3.0
# Where no answer came.
NO_REPLY = requests.Response()
NO_REPLY.status_code = 0


@dataclass(frozen=True)
class Account:
    """The agent's credentials, from `credentials.env`."""

    gateway_url: str
    key: str
    mailbox_id: str
    address: str
    second_id: str
    second_address: str
    # Where mail to the mailboxes comes in; 0 where none does.
    inbound_port: int = 0


class Agent:
    """Writes the opening messages at once, then one now and then while the reviewers
    keep up.
    """

    def __init__(self, data_dir: Path, gateway_url: str) -> None:
        """Read nothing yet: the credentials may not have been made."""
        self._credentials = data_dir / "credentials.env"
        self._gateway_url = gateway_url
        self._progress_path = data_dir / "agent.json"
        self._stop = threading.Event()

    def run(self) -> None:
        """Write until the process ends."""
        while not self._stop.is_set():
            progress = self._progress()
            if progress["sent"] >= len(OPENING):
                if self._stop.wait(random.uniform(*PAUSE_SECONDS)):
                    return
                account = read_account(self._credentials, self._gateway_url)
                if account is None or waiting(account) >= MOST_WAITING:
                    continue
            self._write(progress["run"], progress["sent"])

    def _write(self, run: str, sequence: int) -> None:
        message = MESSAGES[sequence % len(MESSAGES)]
        while True:
            # Read each time: a `./run reset` changes them under a running agent.
            account = read_account(self._credentials, self._gateway_url)
            reply = send(account, message, sequence, run) if account else NO_REPLY
            status = reply.status_code
            # Accepted, or refused for its content: a retry would change nothing.
            is_refused = 400 <= status < 500 and status not in (401, 404, 408, 429)
            if account and (200 <= status < 300 or is_refused):
                break
            about = {"event": "agent.waits", "status": status}
            log.warning("gateway does not take mail yet", extra=about)
            if self._stop.wait(LOOK_SECONDS):
                return
        about = {"event": "agent.sent", "letter": message.name, "status": status}
        log.info("letter sent", extra=about)
        if message.question and account.inbound_port and status < 300:
            # The answered customer writes again, before anybody can have approved the
            # answer.
            self._stop.wait(SECOND_THOUGHT_SECONDS)
            write_as_customer(account, message, sequence, run, again=True)
        self._save(run, sequence + 1)
        following = MESSAGES[(sequence + 1) % len(MESSAGES)]
        if message.unasked and not following.unasked:
            # The desk must record that earlier mail was sent, because its rules use
            # known recipients.
            for _ in range(LONGEST_LEAVING_SECONDS):
                if not emails(account, account.second_id, "status=scheduled"):
                    break
                self._stop.wait(1)
            self._stop.wait(HEARSAY_SECONDS)

    def _progress(self) -> dict[str, Any]:
        try:
            progress = json.loads(self._progress_path.read_text())
            return {"run": str(progress["run"]), "sent": int(progress["sent"])}
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return self._save(secrets.token_hex(4), 0)

    def _save(self, run: str, sent: int) -> dict[str, Any]:
        progress = {"run": run, "sent": sent}
        # A kill leaves the old state or the new one.
        replace_private(self._progress_path, json.dumps(progress))
        return progress


def read_account(path: Path, gateway_url: str) -> Account | None:
    """Return the account in a file of shell assignments, or nothing while it is missing
    or half written.
    """
    try:
        values = read_credentials(path)
        return Account(
            gateway_url=(values.get("GATEWAY_URL") or gateway_url).rstrip("/"),
            key=values["AGENT_KEY"],
            mailbox_id=values["MAILBOX_ID"],
            address=values["MAILBOX_ADDRESS"],
            second_id=values["MAILBOX2_ID"],
            second_address=values["MAILBOX2_ADDRESS"],
            inbound_port=int(values.get("INBOUND_PORT") or 0),
        )
    except (OSError, KeyError, ValueError):
        return None


def send(
    account: Account, message: Message, sequence: int, run: str
) -> requests.Response:
    """Send one message; where it answers a customer's question, after that came in."""
    path, payload = compose(account, message, sequence, run, datetime.now(UTC))
    asked = ""
    if message.question and account.inbound_port:
        asked = write_as_customer(account, message, sequence, run)
    ends = time.monotonic() + LONGEST_DELIVERY_SECONDS
    mailbox = account.mailbox_id
    while asked and time.monotonic() < ends:
        for row in emails(account, mailbox, "direction=inbound&limit=50"):
            if row.get("message_id_header") == asked:
                # Whom an answer goes to, and its subject, follow from what is answered.
                del payload["to"], payload["subject"]
                path = f"/v1/mailboxes/{quote(mailbox, safe='')}/reply/{row['id']}"
                return call(account, "POST", path, payload)
        time.sleep(0.25)
    return call(account, "POST", path, payload)


def write_as_customer(
    account: Account, message: Message, sequence: int, run: str, *, again: bool = False
) -> str:
    """Write the question that a message answers, or what came to the customer's mind
    meanwhile in the same thread. Return the Message-ID; empty when the gateway did not
    take it.
    """
    question = message.question
    assert question is not None
    thread = f"{run}-{sequence}@{question.sender.partition('@')[2]}>"
    mail = EmailMessage()
    mail["From"] = f"{question.name} <{question.sender}>"
    mail["To"] = account.address
    mail["Subject"] = f"Re: {question.subject}" if again else question.subject
    mail["Message-ID"] = f"<{'afterwards' if again else 'question'}-{thread}"
    if again:
        mail["In-Reply-To"] = mail["References"] = f"<question-{thread}"
    body = question.afterwards if again else question.body
    mail.set_content(fill_in(body, blanks(sequence, datetime.now(UTC))))
    port = account.inbound_port
    try:
        with smtplib.SMTP("127.0.0.1", port, timeout=TIMEOUT_SECONDS) as server:
            server.send_message(mail)
    except (OSError, smtplib.SMTPException):
        return ""
    return str(mail["Message-ID"])


def waiting(account: Account) -> int:
    """Return how many messages wait for approval in both mailboxes."""
    return sum(
        len(emails(account, mailbox, "status=pending_send_approval&limit=100"))
        for mailbox in (account.mailbox_id, account.second_id)
    )


def emails(account: Account, mailbox: str, query: str) -> list[dict[str, Any]]:
    """Return messages of a mailbox; none when the gateway does not say."""
    path = f"/v1/mailboxes/{quote(mailbox, safe='')}/emails?{query}"
    try:
        answer = call(account, "GET", path).json()
    except ValueError:
        return []
    found: list[dict[str, Any]] = answer.get("emails", [])
    return found


def compose(
    account: Account, message: Message, sequence: int, run: str, now: datetime
) -> tuple[str, dict[str, Any]]:
    """Return path and body of a send: of the flat call, as MultiMail's page on Discord
    bots shows it, where that page's program would send it, else of the current dialect.
    """
    values = blanks(sequence, now)
    body = fill_in(message.body, values)
    mailbox = account.mailbox_id
    sender = account.address
    if message.from_second_mailbox:
        mailbox = account.second_id
        sender = account.second_address
    payload: dict[str, Any] = {
        "subject": fill_in(message.subject, values),
        "metadata": {
            "run_id": f"run_{run}_{sequence}",
            "reason": fill_in(message.why, values),
        },
        "idempotency_key": f"demo-{run}-{sequence}",
    }
    if message.cc:
        payload["cc"] = message.cc.split(", ")
    if message.bcc:
        payload["bcc"] = message.bcc.split(", ")
    if not message.origin and not message.unasked:
        payload |= {"to": message.to.split(", "), "markdown": body}
        if message.attachments:
            payload["attachments"] = [
                {
                    "name": fill_in(file.name, values),
                    "content_base64": base64.b64encode(file.content).decode(),
                    "content_type": file.content_type,
                }
                for file in message.attachments
            ]
        return f"/v1/mailboxes/{quote(mailbox, safe='')}/send", payload
    mode = "autonomous" if message.unasked else "gated_send"
    payload |= {"from": sender, "to": message.to, "body": body, "oversight_mode": mode}
    if origin := message.origin:
        payload["metadata"] = {
            "discord_user": origin.user,
            "discord_user_id": origin.user_id,
            "discord_channel": origin.channel,
            "discord_guild": origin.guild,
            "discord_interaction_id": f"1180{int(run, 16) % 10**8:08d}{sequence:07d}",
        }
    return "/v1/send_email", payload


def call(
    account: Account, method: str, path: str, payload: dict[str, Any] | None = None
) -> requests.Response:
    """Make one request. Never raises: a gateway that is down is an ordinary thing while
    everything starts.
    """
    try:
        with requests.Session() as session:
            # Proxies are for what is outside.
            session.trust_env = False
            return session.request(
                method,
                account.gateway_url + path,
                json=payload,
                headers={"Authorization": f"Bearer {account.key}"},
                timeout=TIMEOUT_SECONDS,
                allow_redirects=False,
            )
    except requests.RequestException:
        return NO_REPLY
