"""Calls that MultiMail takes from an agent's key: what a bot would do. The idempotency
key makes two sends one.
"""

from collections.abc import Collection

from common.exchange import Deadline
from upstream.client import Client, Json, path, rows_in
from upstream.errors import OutcomeUnknown
from upstream.refused_fields import OF_A_MESSAGE

MAX_SENT = 256 * 1024
MAX_INBOX = 4 * 1024 * 1024
# Somebody waits for the answer, and the worker's lease ends at some point.
WITHIN = 15.0


class Agent(Client):
    """MultiMail's API with a key that sends and reads. Each call answers with the JSON
    object, or raises.
    """

    def send_email(
        self,
        *,
        mailbox: str,
        to: list[str],
        subject: str,
        body: str,
        metadata: dict[str, str],
        idempotency_key: str,
        without: Collection[str] = (),
    ) -> Json:
        """Send one message from the mailbox of this address, in the dialect that takes
        metadata.
        """
        message = {
            "from": mailbox,
            "to": to,
            "subject": subject,
            "body": body,
            "metadata": metadata,
        }
        return self._send(
            "/v1/send_email", message | {"idempotency_key": idempotency_key}, without
        )

    def send_held(
        self,
        *,
        mailbox: str,
        mailbox_id: str,
        message: Json,
        idempotency_key: str,
        without: Collection[str] = (),
    ) -> Json:
        """Send a whole message from this mailbox so that it waits for review, also
        where the mailbox would send it.

        With files it goes by MultiMail's current path, the only one that is documented
        to take them. `without` names fields that MultiMail has refused here; without
        `oversight_mode` the mailbox alone decides whether it waits. Raises
        FieldsRefused for more of those.
        """
        held = {"oversight_mode": "gated_send", "idempotency_key": idempotency_key}
        target = path("/v1/mailboxes/{}/send", mailbox_id)
        if not message.get("attachments"):
            target = "/v1/send_email"
            held = {"from": mailbox, **held}
        return self._send(target, message | held, without)

    def reply_email(
        self,
        *,
        mailbox_id: str,
        email_id: str,
        body: str,
        metadata: dict[str, str],
        idempotency_key: str,
        without: Collection[str] = (),
    ) -> Json:
        """Answer one message of this mailbox."""
        message = {
            "markdown": body,
            "metadata": metadata,
            "idempotency_key": idempotency_key,
        }
        return self._send(
            path("/v1/mailboxes/{}/reply/{}", mailbox_id, email_id), message, without
        )

    def unread(self, *, mailbox: str, most: int) -> list[Json]:
        """Read what came to the mailbox of this address and is unread, the newest
        first. It marks nothing as read.
        """
        params = {"mailbox": mailbox, "unread": "true", "limit": str(most)}
        deadline = Deadline.after(WITHIN)
        answer = self._call(
            "GET", "/v1/check_inbox", params=params, limit=MAX_INBOX, deadline=deadline
        )
        return [
            row
            for row in rows_in(answer, "emails", what="list of received mail")
            if isinstance(row, dict)
        ][:most]

    def _send(self, target: str, message: Json, without: Collection[str]) -> Json:
        body = {name: value for name, value in message.items() if name not in without}
        answer = self._call(
            "POST",
            target,
            body=body,
            optional=OF_A_MESSAGE,
            limit=MAX_SENT,
            deadline=Deadline.after(WITHIN),
        )
        sent = str(
            answer.get("id") or answer.get("message_id") or answer.get("email_id") or ""
        )[:200]
        if not sent:
            raise OutcomeUnknown(
                "MultiMail accepted the message but did not return its id."
            )
        return answer | {"id": sent}
