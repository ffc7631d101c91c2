"""Messages of the rest of the company: invoices, meetings, contracts, outreach, news. Ordinary, with some weight."""

from demo.messages.files import DRAFT_PDF, INVOICE_PDF
from demo.messages.message import ANA, CLEO, Attachment, Message

BUSINESS = (
    Message(
        name="invoice",
        to=("billing@acme-corp.example",),
        subject="Invoice $invoice for $month",
        why="Monthly billing run.",
        attachments=(Attachment("invoice.pdf", INVOICE_PDF, "application/pdf"),),
        body="""\
Dear Sir or Madam,

please find attached invoice **$invoice** for $month.

| Position | Amount |
|---|---:|
| Team plan, 25 seats | EUR 1,225.00 |
| Extra storage, 200 GB | EUR 40.00 |
| **Total** | **EUR 1,265.00** |

It is payable by $due to the account you know. Questions go to this address, and a person answers them.

Kind regards,
Cleo Marchetti
Accounts
""",
    ),
    Message(
        name="reminder",
        to=("accounts@fourthcoffee.example",),
        cc=("r.castellanos@fourthcoffee.example",),
        subject="Reminder: invoice $invoice, EUR $amount",
        why="12 days overdue, first reminder.",
        origin=CLEO,
        body="""\
Hello Rosa,

invoice $invoice over **EUR $amount** has been open for twelve days. It may have slipped through with the move to your
new office.

If it is already paid, please ignore this mail. If there is something wrong with it, tell me and I put it right.

Kind regards,
Cleo Marchetti
Accounts
""",
    ),
    Message(
        name="meeting",
        to=("j.whitaker@alpineski.example",),
        subject="30 minutes on $weekday?",
        why="Follow-up to the demo call; calendar of Ines is free at these times.",
        body="""\
Hi Jordan,

shall we go through the open questions before your board meets? Any of these would suit Ines and me:

| Day | Time (CET) |
|---|---|
| $weekday, $meeting | $clock to half an hour later |
| The day after | 11:30 to 12:00 |
| The day after | 16:00 to 16:30 |

I would like to leave with an answer to two things: who signs, and whether the pilot group stays at twelve.

Best,
Mila Sorensen
""",
    ),
    Message(
        name="contract",
        to=("lee@fabrikam.example",),
        cc=("legal@fabrikam.example",),
        subject="Re: contract draft, section 4",
        why="Counsel cleared draft 3 for sending.",
        attachments=(Attachment("msa-draft-3.pdf", DRAFT_PDF, "application/pdf"),),
        body="""\
Dear Lee,

draft 3 is attached. Section 4 now reads:

> Each party's liability is limited to the fees paid in the twelve months before the event, except for intent,
> gross negligence and breach of confidence.

We took your wording for 4.2 and kept ours for 4.3; the reason is in the margin. **This is a draft for discussion and
not an offer.**

Could you let me know by $due whether this closes the section?

Kind regards,
Mila Sorensen
""",
    ),
    Message(
        name="outreach",
        to=("julia.brandt@margies.example",),
        subject="Your talk on writing things down",
        why="On the list of speakers Ana asked to thank.",
        origin=ANA,
        from_second_mailbox=True,
        body="""\
Hello Julia,

your talk on decision logs made the rounds here; three people sent it to me in one afternoon. The part on *dates that
lie* changed how we write ours.

We build a small tool for such logs. I would like to give your team a year of it, in exchange for half an hour of
honest complaints in the spring. If that is not for you, no answer is needed and I will not write again.

Ana Lindholm
""",
    ),
    Message(
        name="release-notes",
        to=("beta@contoso.example", "beta@fabrikam.example", "beta@litware.example"),
        subject="Fieldnote 4.2 for testers",
        why="Release to the beta group, text approved by product.",
        from_second_mailbox=True,
        body="""\
## New in 4.2

- **Side by side.** Two notes next to each other, on wide screens.
- **Quiet hours** follow you when you travel.
- Search finds words inside tables.

## Put right

- Pasting from a spreadsheet kept the wrong column order.
- A note that was renamed twice within a second lost its first name in the history.

## Known

Side by side does not print yet. [All changes](https://fieldnote.example/changes/4.2)

The Fieldnote team
""",
    ),
    Message(
        name="quote",
        to=("procurement@vanarsdel.example",),
        subject="Offer for 120 seats, valid until $due",
        why="Numbers from the price list; discount within what Mila may give.",
        body="""\
Dear Ms Ferreira,

thank you for your inquiry. For 120 seats we offer:

| | Per seat and month | Per year |
|---|---:|---:|
| Team plan | EUR 49.00 | EUR 70,560.00 |
| Discount, 12 % | | EUR -8,467.20 |
| **Total, before tax** | | **EUR 62,092.80** |

The offer holds until $due. Set-up and the move from your present system are included; training is not.

Yours sincerely,
Mila Sorensen
""",
    ),
    Message(
        name="maintenance",
        to=("ops@contoso.example",),
        subject="Maintenance window on Saturday, 02:00 to 04:00",
        why="Planned maintenance, notice of five days is in the agreement.",
        from_second_mailbox=True,
        body="""\
Hello,

on Saturday between **02:00 and 04:00 UTC** we move the search index to new machines. Reading and writing go on;
search may miss changes of the last minutes until 04:00.

You need not do anything. [Status page](https://status.fieldnote.example/)

Ines Moreau
Operations
""",
    ),
    Message(
        name="interview",
        to=("amara.okafor@mail.test",),
        subject="Your interview on $weekday",
        why="Candidate accepted the slot by phone.",
        body="""\
Dear Amara,

we look forward to meeting you on **$weekday, $meeting, at $clock**. You will talk to Ines, whose team you would join,
and to Noor.

It is a conversation and a small exercise at your own keyboard; nothing to prepare. If you need anything to be
different, so that you can show what you know, tell me and we arrange it.

Kind regards,
Mila Sorensen
""",
    ),
)
