"""Messages that the second mailbox sends without approval, so that the desk has known
recipients.
"""

from demo.messages.message import Message


def _notice(name: str, to: str, subject: str, body: str) -> Message:
    return Message(
        name,
        to,
        subject=subject,
        body=body,
        why="Automatic notice; needs no approval in this mailbox.",
        from_second_mailbox=True,
        unasked=True,
    )


UNASKED = (
    _notice(
        "received-acme",
        "billing@acme-corp.example",
        "We have received your payment for invoice 2114",
        "Hello,\n\nWe received your payment of **EUR 1,265.00** for invoice 2114 today. Thank you.\n\n"
        "Kind regards,\nAccounts\n",
    ),
    _notice(
        "moved-northwind",
        "dana@northwind.example",
        "Your parcel is on its way",
        "Hello Dana,\n\nYour order 4402 left our warehouse this morning and should reach you in two days.\n\n"
        "The support team\n",
    ),
    _notice(
        "backup-contoso",
        "ops@contoso.example",
        "Nightly export finished",
        "Hello,\n\nLast night's export finished without errors: 48,112 rows in 6 minutes.\n\nYour Team\n",
    ),
)
