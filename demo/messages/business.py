"""Ordinary messages of a company's other departments: invoices, meetings, contracts,
outreach; and notices that need no approval.
"""

from demo.messages.files import DRAFT_PDF, INVOICE_PDF
from demo.messages.message import ANA, CLEO, Attachment, Message

BUSINESS = (
    Message(
        "invoice",
        to="billing@acme-corp.example",
        subject="Invoice $invoice for $month",
        why="Monthly billing run.",
        attachments=(Attachment("invoice.pdf", INVOICE_PDF, "application/pdf"),),
        body="""\
Dear Sir or Madam,

Please find attached invoice **$invoice** for $month.

| Position | Amount |
|---|---:|
| Team plan, 25 seats | EUR 1,225.00 |
| Extra storage, 200 GB | EUR 40.00 |
| **Total** | **EUR 1,265.00** |

Payment is due by $due, to the usual account. If you have any questions, just reply to this email.

Kind regards,
Cleo Marchetti
Accounts
""",
    ),
    Message(
        "reminder",
        to="accounts@fourthcoffee.example",
        cc="r.castellanos@fourthcoffee.example",
        subject="Reminder: invoice $invoice, EUR $amount",
        why="12 days overdue, first reminder.",
        origin=CLEO,
        body="""\
Hello Rosa,

Invoice $invoice for **EUR $amount** is twelve days overdue. It may have been missed during your office move.

If you have already paid it, please ignore this email. If something is wrong with it, let me know and I'll fix it.

Kind regards,
Cleo Marchetti
Accounts
""",
    ),
    Message(
        "meeting",
        to="j.whitaker@alpineski.example",
        subject="30 minutes on $weekday?",
        why="Follow-up to the demo call; calendar of Ines is free at these times.",
        body="""\
Hi Jordan,

Could we go through the open questions before your board meets? Ines and I are free at these times:

| Day | Time (CET) |
|---|---|
| $weekday, $meeting | $clock, for 30 minutes |
| The day after | 11:30 to 12:00 |
| The day after | 16:00 to 16:30 |

I'd like to settle two things: who signs, and whether the pilot group stays at twelve people.

Best,
Mila Sorensen
""",
    ),
    Message(
        "contract",
        to="lee@fabrikam.example",
        cc="legal@fabrikam.example",
        subject="Re: contract draft, section 4",
        why="Counsel cleared draft 3 for sending.",
        attachments=(Attachment("msa-draft-3.pdf", DRAFT_PDF, "application/pdf"),),
        body="""\
Dear Lee,

Draft 3 is attached. Section 4 now reads:

> Each party's liability is limited to the fees paid in the twelve months before the event, except for intent, gross \
negligence and breach of confidence.

We accepted your wording for 4.2 and kept ours for 4.3; the reasons are in the margin. **This is a draft for \
discussion, not an offer.**

Could you let me know by $due whether this settles section 4?

Kind regards,
Mila Sorensen
""",
    ),
    Message(
        "outreach",
        to="julia.brandt@margies.example",
        subject="Your talk on writing things down",
        why="On the list of speakers Ana asked to thank.",
        origin=ANA,
        from_second_mailbox=True,
        body="""\
Hello Julia,

Your talk on decision logs has made the rounds here: three people sent it to me in one afternoon. Your point about \
*wrong dates* changed how we write ours.

We make a small tool for these logs, and I'd like to offer your team a free year in exchange for half an hour of \
honest feedback in the spring. If that's not for you, there's no need to reply, and I won't write again.

Ana Lindholm
""",
    ),
)


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


# Notices that the second mailbox sends without approval. Their recipients are then
# known to the desk.
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
