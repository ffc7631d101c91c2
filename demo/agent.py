"""The demo's agent, which writes mail through the MultiMail API, as a customer's agent
would. It knows only the gateway's URL and its keys.

It stores its progress in a file, so that a restart neither repeats nor skips a message.
A message whose answer was lost is sent again with the same idempotency key. The agent
also plays the customers, who write to its mailboxes by SMTP.
"""

import base64
import json
import logging
import random
import secrets
import smtplib
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

import requests

from common.credentials import read_credentials, replace_private
from common.unique_keys import Json
from demo import local
from demo.messages import MESSAGES, OPENING
from demo.messages.message import Message, blanks, fill_in

log = logging.getLogger("demo.agent")

# Of one request or one SMTP session.
TIMEOUT_SECONDS = 10.0
# Between two messages after the opening ones, at least and at most.
PAUSE_SECONDS = (60.0, 100.0)
# Before the agent tries again to send, if the gateway accepts no mail yet.
LOOK_SECONDS = 2.0
# The agent writes no more while so many messages wait for approval.
MOST_WAITING = 25
# After the messages without approval: how long to wait until they were sent, and then
# until the desk has learned of it.
LONGEST_LEAVING_SECONDS = 20
HEARSAY_SECONDS = 4.0
# How long to wait until a customer's question is in the mailbox.
LONGEST_DELIVERY_SECONDS = 10.0
# After how many seconds a customer writes again.
SECOND_THOUGHT_SECONDS = 3.0
# Stands for the answer if none came.
NO_REPLY = requests.Response()
NO_REPLY.status_code = 0


class Account:
    """The agent's account at the gateway, from the values in `credentials.env`. Raises
    KeyError while these are not complete.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self.gateway_url = values["GATEWAY_URL"]
        self.key = values["AGENT_KEY"]
        self.mailbox_id = values["MAILBOX_ID"]
        self.address = values["MAILBOX_ADDRESS"]
        self.second_id = values["MAILBOX2_ID"]
        self.second_address = values["MAILBOX2_ADDRESS"]
        # The SMTP port that receives mail to the mailboxes.
        self.inbound_port = int(values["INBOUND_PORT"])

    def call(
        self, method: str, path: str, payload: Json | None = None
    ) -> requests.Response:
        """Make one request, and return the answer or NO_REPLY. It never raises, because
        it is normal that the gateway does not run yet.
        """
        try:
            return local.request(
                method,
                self.gateway_url + path,
                json=payload,
                headers={"Authorization": f"Bearer {self.key}"},
                timeout=TIMEOUT_SECONDS,
            )
        except requests.RequestException:
            return NO_REPLY

    def emails(self, mailbox: str, query: str) -> list[Json]:
        """Return the messages of a mailbox that match a query; an empty list if the
        gateway gives no usable answer.
        """
        try:
            answer = self.call("GET", f"/v1/mailboxes/{mailbox}/emails?{query}").json()
        except ValueError:
            return []
        rows: list[Json] = answer.get("emails", [])
        return rows


class Agent:
    """Writes the opening messages at once, and then a message every minute or so, while
    not too many wait for the reviewers.
    """

    def __init__(self, data_dir: Path) -> None:
        """Only set the paths: the credentials may not have been made yet."""
        self._credentials = data_dir / "credentials.env"
        self._progress_path = data_dir / "agent.json"

    def run(self) -> None:
        """Write until the process ends."""
        while True:
            progress = self._progress()
            if progress["sent"] >= len(OPENING):
                time.sleep(random.uniform(*PAUSE_SECONDS))
                account = self._account()
                if not account or waiting(account) >= MOST_WAITING:
                    continue
            self._write(progress["run"], progress["sent"])

    def _account(self) -> Account | None:
        """Return the account. It is read for each try, because `./run reset` changes the
        credentials while the agent runs.
        """
        try:
            return Account(read_credentials(self._credentials))
        except KeyError:
            return None

    def _write(self, run: str, sequence: int) -> None:
        message = MESSAGES[sequence % len(MESSAGES)]
        while True:
            account = self._account()
            reply = send(account, message, sequence, run) if account else NO_REPLY
            status = reply.status_code
            # If it is refused because of its content, trying again would change
            # nothing.
            is_refused = 400 <= status < 500 and status not in (401, 404, 408, 429)
            if account and (200 <= status < 300 or is_refused):
                break
            about = {"event": "agent.waits", "status": status}
            log.warning("gateway does not take mail yet", extra=about)
            time.sleep(LOOK_SECONDS)
        about = {"event": "agent.sent", "letter": message.name, "status": status}
        log.info("letter sent", extra=about)
        if message.question and not is_refused:
            # The customer writes again, before a reviewer is likely to have approved
            # the answer to them.
            time.sleep(SECOND_THOUGHT_SECONDS)
            write_as_customer(account, message, sequence, run, again=True)
        self._save(run, sequence + 1)
        next_message = MESSAGES[(sequence + 1) % len(MESSAGES)]
        if message.unasked and not next_message.unasked:
            # The later messages need known recipients, so wait until the desk has
            # recorded that the earlier ones were sent.
            for _ in range(LONGEST_LEAVING_SECONDS):
                if not account.emails(account.second_id, "status=scheduled"):
                    break
                time.sleep(1)
            time.sleep(HEARSAY_SECONDS)

    def _progress(self) -> Json:
        try:
            progress = json.loads(self._progress_path.read_text())
            return {"run": str(progress["run"]), "sent": int(progress["sent"])}
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return self._save(secrets.token_hex(4), 0)

    def _save(self, run: str, sent: int) -> Json:
        progress = {"run": run, "sent": sent}
        # If the process is killed, the file has either the old progress or the new.
        replace_private(self._progress_path, json.dumps(progress))
        return progress


def send(
    account: Account, message: Message, sequence: int, run: str
) -> requests.Response:
    """Send one message. If it answers a customer's question, first send the question,
    and answer it when it has arrived.
    """
    path, payload = compose(account, message, sequence, run, datetime.now(UTC))
    question_id = ""
    if message.question:
        question_id = write_as_customer(account, message, sequence, run)
    deadline = time.monotonic() + LONGEST_DELIVERY_SECONDS
    mailbox = account.mailbox_id
    while question_id and time.monotonic() < deadline:
        for row in account.emails(mailbox, "direction=inbound&limit=50"):
            if row.get("message_id_header") == question_id:
                # The gateway takes recipient and subject from the question.
                del payload["to"], payload["subject"]
                path = f"/v1/mailboxes/{mailbox}/reply/{row['id']}"
                return account.call("POST", path, payload)
        time.sleep(0.25)
    return account.call("POST", path, payload)


def write_as_customer(
    account: Account, message: Message, sequence: int, run: str, *, again: bool = False
) -> str:
    """Send mail from a customer to the agent's mailbox: the question that a message
    answers or, with `again`, a second mail in the same thread. Return its Message-ID;
    empty if it was not accepted.
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
    try:
        with smtplib.SMTP(
            "127.0.0.1", account.inbound_port, timeout=TIMEOUT_SECONDS
        ) as server:
            server.send_message(mail)
    except (OSError, smtplib.SMTPException):
        return ""
    return str(mail["Message-ID"])


def waiting(account: Account) -> int:
    """Return how many messages of both mailboxes wait for approval, at most a hundred
    of each.
    """
    return sum(
        len(account.emails(mailbox, "status=pending_send_approval&limit=100"))
        for mailbox in (account.mailbox_id, account.second_id)
    )


def compose(
    account: Account, message: Message, sequence: int, run: str, now: datetime
) -> tuple[str, Json]:
    """Return the path and the body of the call that sends a message.

    Messages that a Discord command started use the flat call of MultiMail's page about
    Discord bots, and so do those that ask for no approval. The others use the current
    API.
    """
    values = blanks(sequence, now)
    body = fill_in(message.body, values)
    mailbox = account.mailbox_id
    sender = account.address
    if message.from_second_mailbox:
        mailbox = account.second_id
        sender = account.second_address
    payload: Json = {
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
        return f"/v1/mailboxes/{mailbox}/send", payload
    mode = "autonomous" if message.unasked else "gated_send"
    payload |= {"from": sender, "to": message.to, "body": body, "oversight_mode": mode}
    if message.origin:
        payload["metadata"] = {
            **message.origin,
            "discord_interaction_id": f"1180{int(run, 16) % 10**8:08d}{sequence:07d}",
        }
    return "/v1/send_email", payload
