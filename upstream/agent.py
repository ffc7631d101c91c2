"""Calls of MultiMail's API that need an agent's key: send, reply, and list unread mail,
as a bot does. Two sends with the same idempotency key have the effect of one.
"""

from collections.abc import Collection

from common.exchange import Deadline
from common.unique_keys import Json, text_in
from upstream.client import Client, path, rows_in
from upstream.errors import OutcomeUnknown
from upstream.refused_fields import OF_A_MESSAGE

# The longest answers, in bytes: to a send, and for the inbox.
MAX_SENT = 256 * 1024
MAX_INBOX = 4 * 1024 * 1024
# Seconds for one call. A person waits for the answer, and a worker must be done before
# its lease ends.
WITHIN = 15.0


class Agent(Client):
    """MultiMail's API with a key that may send and read. Each call returns the JSON
    object of the answer, or raises an error of upstream.errors.
    """

    def send_email(
        self,
        message: Json,
        replied: tuple[str, ...] = (),
        *,
        without: Collection[str] = (),
    ) -> Json:
        """Send one message from the mailbox with the address `from`, on the path whose
        documentation mentions `metadata`; or, with the ids of a mailbox and a message
        of it that is `replied` to, the answer to that.
        """
        target = "/v1/send_email"
        if replied:
            target = path("/v1/mailboxes/{}/reply/{}", *replied)
        return self._send(target, message, without)

    def send_held(
        self,
        *,
        mailbox: str,
        mailbox_id: str,
        message: Json,
        idempotency_key: str,
        without: Collection[str],
    ) -> Json:
        """Send a message so that it waits for review, even if the mailbox would send it
        at once.

        A message with files uses MultiMail's current path, the only one that is
        documented to accept them. `without` names fields to leave out, because this
        MultiMail has refused them; without `oversight_mode`, the mailbox alone decides
        whether the message waits. Raises FieldsRefused if it refuses more fields.
        """
        held = {"oversight_mode": "gated_send", "idempotency_key": idempotency_key}
        target = path("/v1/mailboxes/{}/send", mailbox_id)
        if not message.get("attachments"):
            target = "/v1/send_email"
            held = {"from": mailbox, **held}
        return self._send(target, message | held, without)

    def unread(self, *, mailbox: str, most: int) -> list[Json]:
        """Read the unread messages of the mailbox with this address, at most `most`,
        the newest first. They stay unread.
        """
        answer = self._call(
            "GET",
            "/v1/check_inbox",
            params={"mailbox": mailbox, "unread": "true", "limit": str(most)},
            limit=MAX_INBOX,
            deadline=Deadline.after(WITHIN),
        )
        return rows_in(answer, "emails", what="list of received mail")[:most]

    # Sends a message, and returns the answer with the message's id under `id`.
    def _send(self, target: str, message: Json, without: Collection[str]) -> Json:
        answer = self._call(
            "POST",
            target,
            body=message,
            optional=OF_A_MESSAGE,
            without=without,
            limit=MAX_SENT,
            deadline=Deadline.after(WITHIN),
        )
        sent = text_in(answer, "id", "message_id", "email_id", most=200)
        if not sent:
            raise OutcomeUnknown(
                "MultiMail accepted the message but did not return its id."
            )
        return answer | {"id": sent}
