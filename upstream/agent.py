"""Calls that MultiMail takes from an agent's key: what a bot would do. Each letter has a key that makes it one."""

from typing import Any
from urllib.parse import quote

from common.exchange import Deadline
from upstream.client import Client
from upstream.errors import OutcomeUnknown

MAX_SENT = 256 * 1024
MAX_INBOX = 4 * 1024 * 1024
# Somebody waits for the answer, and the worker's lease ends at some point.
WITHIN = 15.0


class Agent(Client):
    """MultiMail's API with a key that sends and reads. Each call answers with the JSON object, or raises."""

    def send_email(
        self, *, mailbox: str, to: list[str], subject: str, body: str, metadata: dict[str, str], idempotency_key: str
    ) -> dict[str, Any]:
        """Send one letter, from the mailbox of this address. Contract section 4.1, the dialect that takes metadata."""
        letter = {"from": mailbox, "to": to, "subject": subject, "body": body, "metadata": metadata}
        return self._send("/v1/send_email", letter | {"idempotency_key": idempotency_key})

    def reply_email(
        self, *, mailbox_id: str, email_id: str, body: str, metadata: dict[str, str], idempotency_key: str
    ) -> dict[str, Any]:
        """Answer one letter of this mailbox. Contract section 4.1."""
        letter = {"markdown": body, "metadata": metadata, "idempotency_key": idempotency_key}
        return self._send(f"/v1/mailboxes/{quote(mailbox_id, safe='')}/reply/{quote(email_id, safe='')}", letter)

    def unread(self, *, mailbox: str, most: int) -> list[dict[str, Any]]:
        """Read what came to the mailbox of this address and is unread, the newest first. It marks nothing as read."""
        answer, _ = self._call(
            "GET",
            "/v1/check_inbox",
            params={"mailbox": mailbox, "unread": "true", "limit": str(most)},
            limit=MAX_INBOX,
            deadline=Deadline.after(WITHIN),
        )
        if not isinstance(answer.get("emails"), list):
            raise OutcomeUnknown("MultiMail's list of received mail has a form that this version cannot read.")
        return [row for row in answer["emails"] if isinstance(row, dict)][:most]

    def _send(self, path: str, letter: dict[str, Any]) -> dict[str, Any]:
        answer, _ = self._call("POST", path, body=letter, limit=MAX_SENT, deadline=Deadline.after(WITHIN))
        if not _id_in(answer):
            raise OutcomeUnknown("MultiMail took the letter, and did not tell its id.")
        return answer | {"id": _id_in(answer)}


def _id_in(answer: dict[str, Any]) -> str:
    return str(answer.get("id") or answer.get("message_id") or answer.get("email_id") or "")[:200]
