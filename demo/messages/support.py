"""Messages of the support mailbox: answers, refunds, apologies. Ordinary mail that a
reviewer lets go quickly.
"""

from demo.messages.files import HOW_TO_RETURN, RETURN_LABEL
from demo.messages.message import BEN, CLEO, Attachment, Message, Question

SUPPORT = (
    Message(
        "return-label",
        to="dana@northwind.example",
        subject="Re: two broken mugs",
        why="Return agreed under the terms of sale; label made by the carrier.",
        attachments=(
            Attachment("label.png", RETURN_LABEL, "image/png"),
            Attachment("how-to-return.txt", HOW_TO_RETURN, "text/plain"),
        ),
        question=Question(
            sender="dana@northwind.example",
            name="Dana Whitfield",
            subject="two broken mugs",
            body="""\
Hi,

Two of the six mugs of order $order arrived broken. Could you send me two new ones? I can send the broken ones back.

Dana
""",
            afterwards="""\
Hi again,

Please don't send new ones after all. We found the same mugs in town, so I'd rather have the EUR 36.00 back.

Dana
""",
        ),
        body="""\
Hi Dana,

I'm sorry about the mugs. We'll ship two new ones tomorrow, and they should reach you on **$weekday**.

Please use the attached label to send the broken ones back. Returns are free, and the second file explains how to \
pack them.

Warm regards,
Noor Haddad
Support
""",
    ),
    Message(
        "refund",
        to="dana@northwind.example",
        subject="Your refund for order $order",
        why="Parcel arrived damaged; refund approved by Ben in the channel.",
        origin=BEN,
        body="""\
Hi Dana,

Thank you for the photos, and I'm sorry your parcel arrived in that state. I've **refunded EUR $amount** to the card \
you paid with. It usually takes three to five working days to appear.

You don't need to send anything back. If you'd rather have a replacement, just reply and I'll ship one today.

Warm regards,
Ben Okoro
Support
""",
    ),
    Message(
        "saml",
        to="marco.ruiz@tailspin.example",
        subject="Re: SAML sign-in loops back to the login page",
        why="Ticket $ticket: known cause, answer taken from the runbook.",
        body="""\
Hello Marco,

The loop happens when your identity provider signs the response but not the assertion. To fix it:

1. Open **Applications > Fieldnote > Signing** in your provider.
2. Choose *Sign response and assertion*.
3. Check that the audience is `https://fieldnote.example/saml/metadata`, without a trailing slash.

Then sign in from a private window. If it still loops, send me the value of `InResponseTo` from the last attempt, \
but please leave out the assertion itself: it works like a password.

Best,
Noor Haddad
Support, ticket $ticket
""",
    ),
    Message(
        "late-parcel",
        to="yuki.tanaka@wideworld.example",
        subject="Order $order is two days late, and what we did",
        why="Carrier reports a missed connection; customer asked twice.",
        origin=BEN,
        body="""\
Dear Yuki,

Your order missed its flight on Monday. It's on its way again and should reach you on **$weekday**.

We've refunded the shipping fee. If you need the order by a certain date, let me know and I'll ask the courier about \
a faster delivery.

Kind regards,
Ben Okoro
""",
    ),
    Message(
        "outage",
        to="ops@contoso.example",
        cc="priya.nair@adatum.example",
        subject="What happened on $past_weekday between 09:12 and 09:47",
        why="Promised incident report for two customers with an SLA.",
        body="""\
Hello,

You asked for a timeline of this week's outage. All times are in UTC.

| Time | What happened |
|---|---|
| 09:12 | A configuration change doubled the connections to our database |
| 09:15 | First alert; imports begin to queue |
| 09:31 | Change rolled back |
| 09:47 | Queue empty, all imports delivered |

**No data was lost.** 214 of your imports were delayed by up to 32 minutes. We now roll out changes of this kind one \
region at a time and stop at the first alert.

The credit under section 6 of your agreement will appear on your next invoice automatically.

Regards,
Ines Moreau
Operations
""",
    ),
    Message(
        "welcome",
        to="sam@litware.example",
        subject="Welcome aboard, Sam",
        why="New account finished its set-up.",
        body="""\
Hi Sam,

It's good to have you with us. Most teams start with these three steps:

- [Invite your colleagues](https://fieldnote.example/people/invite)
- [Import your notes](https://fieldnote.example/import) as Markdown, HTML or a zip of both
- [Set your quiet hours](https://fieldnote.example/settings/quiet) before the first weekend

If you get stuck, reply to this email. A person reads every reply.

Noor Haddad
Support
""",
    ),
    Message(
        "data-request",
        to="h.lindqvist@proseware.example",
        subject="Your data: the copy you asked for",
        why="Access request, identity confirmed on $today.",
        body="""\
Dear Ms Lindqvist,

The copy of your personal data is ready. Sign in and open **Account > Privacy > Downloads** to get it before $due. \
We don't send it by email because email is not secure enough for it.

The archive contains your profile, your notes as Markdown, and your sign-ins of the last twelve months. If anything \
is missing or wrong, let me know and we'll correct it.

Yours sincerely,
Noor Haddad
""",
    ),
    Message(
        "bug-fixed",
        to="priya.nair@adatum.example",
        subject="Fixed: exports with more than 65,535 rows",
        why="Fix for ticket $ticket was released this morning.",
        body="""\
Hi Priya,

The export bug you reported was fixed this morning. The old code stopped at 65,535 rows without a warning:

```
GET /v1/exports/4117  ->  rows: 65535, truncated: false
```

Exports now include every row, and `truncated` is correct. I ran yours again, and it has **81,204 rows**.

Thanks for such a careful report. It saved us a day.

Noor
""",
    ),
    Message(
        "no-to-feature",
        to="tom.aldous@woodgrove.example",
        subject="Re: read receipts for shared notes",
        why="Product decision of this week, customer asked for an answer either way.",
        body="""\
Hello Tom,

I promised you a clear answer, so here it is: **we're not going to build read receipts.** People tell us they write \
more freely when nobody tracks who opened what.

In your case, *Request feedback* may help: it sends a note to one person and tells you when they reply. [How it \
works](https://fieldnote.example/help/request-feedback)

I know this isn't the answer you hoped for.

Best wishes,
Noor Haddad
""",
    ),
    Message(
        "cancellation",
        to="elena.popescu@relecloud.example",
        subject="Your subscription ends on $due",
        why="Cancellation asked for in chat, confirmed by the owner of the account.",
        origin=CLEO,
        body="""\
Hello Elena,

As you asked, your subscription ends on **$due**. Until then everything works as usual. After that you can read and \
export your notes for another 90 days before we delete them.

You will not be charged again.

If you change your mind, you can [keep your plan](https://fieldnote.example/billing/keep).

All the best,
Cleo Marchetti
""",
    ),
    Message(
        "old-address",
        to="bounce.kim@oldmail.example",
        subject="Is this still the right address for your invoices?",
        why="Two invoices to this address went unread.",
        origin=CLEO,
        body="""\
Dear Kim,

It looks like our last two invoices to this address were never opened. If we should send them somewhere else, just \
reply with the new address.

Kind regards,
Cleo Marchetti
Billing
""",
    ),
)
