"""Messages of the support mailbox: answers, refunds, apologies. Ordinary mail that a reviewer lets go quickly."""

from demo.messages.files import HOW_TO_RETURN, RETURN_LABEL
from demo.messages.message import BEN, CLEO, Attachment, Message, Question

SUPPORT = (
    Message(
        name="return-label",
        to=("dana@northwind.example",),
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

two of the six mugs of order $order came broken. Could you send me two new ones? I can send the broken ones back.

Dana
""",
            afterwards="""\
Hi again,

please do not send new ones after all. We found the same mugs in town, so I would rather have the EUR 36.00 back.

Dana
""",
        ),
        body="""\
Hi Dana,

I am sorry about the mugs. Two new ones leave tomorrow and should be with you on **$weekday**.

Please send the broken ones back with the label that is attached; the other file says how, and it costs you nothing.

Warm regards,
Noor Haddad
Support
""",
    ),
    Message(
        name="refund",
        to=("dana@northwind.example",),
        subject="Your refund for order $order",
        why="Parcel arrived damaged; refund approved by Ben in the channel.",
        origin=BEN,
        body="""\
Hi Dana,

thank you for the photos, and I am sorry the parcel reached you in that state. I have **refunded EUR $amount** to the
card you paid with. Banks usually show it within three to five working days.

There is no need to send anything back. If you would rather have a replacement, answer this mail and I will ship one
today.

Warm regards,
Ben Okoro
Support
""",
    ),
    Message(
        name="saml",
        to=("marco.ruiz@tailspin.example",),
        subject="Re: SAML sign-in loops back to the login page",
        why="Ticket $ticket: known cause, answer taken from the runbook.",
        body="""\
Hello Marco,

the loop happens when your identity provider signs the response but not the assertion. Three steps settle it:

1. Open **Applications > Fieldnote > Signing** in your provider.
2. Choose *Sign response and assertion*.
3. Check that the audience is `https://fieldnote.example/saml/metadata`, with no slash at the end.

Then sign in once in a private window. If it still loops, send me the value of `InResponseTo` from the last attempt;
please leave out the assertion itself, it is as good as a password.

Best,
Noor Haddad
Support, ticket $ticket
""",
    ),
    Message(
        name="late-parcel",
        to=("yuki.tanaka@wideworld.example",),
        subject="Order $order is two days late, and what we did",
        why="Carrier reports a missed connection; customer asked twice.",
        origin=BEN,
        body="""\
Dear Yuki,

your order missed its flight on Monday. It is on its way now and should be with you on **$weekday**.

We have given back the shipping fee. If you need it for a fixed date, tell me the date and I will see whether the
courier can bring it to another address.

Kind regards,
Ben Okoro
""",
    ),
    Message(
        name="outage",
        to=("ops@contoso.example",),
        cc=("priya.nair@adatum.example",),
        subject="What happened on $past_weekday between 09:12 and 09:47",
        why="Promised incident report for two customers with an SLA.",
        body="""\
Hello,

you asked for the times of this week's interruption. All are UTC.

| Time | What happened |
|---|---|
| 09:12 | A configuration change doubled the connections to our database |
| 09:15 | First alert; imports begin to queue |
| 09:31 | Change rolled back |
| 09:47 | Queue empty, all imports delivered |

**No data was lost.** 214 of your imports were late by up to 32 minutes. The change is now rolled out to one
region at a time, with a stop at the first alert.

The credit under section 6 of your agreement appears on the next invoice by itself.

Regards,
Ines Moreau
Operations
""",
    ),
    Message(
        name="welcome",
        to=("sam@litware.example",),
        subject="Welcome aboard, Sam",
        why="New account finished its set-up.",
        body="""\
Hi Sam,

good to have you here. Most teams get going with these three:

- [Invite your colleagues](https://fieldnote.example/people/invite)
- [Bring your notes from elsewhere](https://fieldnote.example/import): Markdown, HTML or a zip of both
- [Set quiet hours](https://fieldnote.example/settings/quiet), before the first Sunday

Reply to this mail whenever something is odd. A person reads it.

Noor Haddad
Support
""",
    ),
    Message(
        name="data-request",
        to=("h.lindqvist@proseware.example",),
        subject="Your data: the copy you asked for",
        why="Access request, identity confirmed on $today.",
        body="""\
Dear Ms Lindqvist,

the copy of your personal data is ready. You find it under **Account > Privacy > Downloads**, after signing in, until
$due. We do not send it by mail because mail is not a safe place for it.

The archive holds your profile, your notes as Markdown, and a list of sign-ins of the last twelve months. If anything is
missing or wrong, write to me and we correct it.

Yours sincerely,
Noor Haddad
""",
    ),
    Message(
        name="bug-fixed",
        to=("priya.nair@adatum.example",),
        subject="Fixed: exports with more than 65,535 rows",
        why="Fix for ticket $ticket was released this morning.",
        body="""\
Hi Priya,

the export you reported is fixed since this morning. The old writer stopped at 65,535 rows without saying so:

```
GET /v1/exports/4117  ->  rows: 65535, truncated: false
```

It now writes all rows, and `truncated` tells the truth. I ran your export again; it has **81,204 rows**.

Thank you for the careful report. It saved us a day.

Noor
""",
    ),
    Message(
        name="no-to-feature",
        to=("tom.aldous@woodgrove.example",),
        subject="Re: read receipts for shared notes",
        why="Product decision of this week, customer asked for an answer either way.",
        body="""\
Hello Tom,

I promised you a clear answer, so here it is: **we are not going to build read receipts.** People told us that they
write more freely when nobody counts who opened what.

What may help with your case is *Ask for a look*: it sends one person a note and tells you when they answer.
[How it works](https://fieldnote.example/help/ask-for-a-look)

I know this is not what you hoped for.

Best wishes,
Noor Haddad
""",
    ),
    Message(
        name="cancellation",
        to=("elena.popescu@relecloud.example",),
        subject="Your subscription ends on $due",
        why="Cancellation asked for in chat, confirmed by the owner of the account.",
        origin=CLEO,
        body="""\
Hello Elena,

your subscription ends on **$due**, as you asked. Until then everything works as before; after it your notes can be
read and exported for 90 days and are then deleted.

You will not be charged again.

Should you change your mind: [keep the plan](https://fieldnote.example/billing/keep).

All the best,
Cleo Marchetti
""",
    ),
    Message(
        name="old-address",
        to=("bounce.kim@oldmail.example",),
        subject="Is this still the right address for your invoices?",
        why="Two invoices to this address went unread.",
        origin=CLEO,
        body="""\
Dear Kim,

our last two invoices to this address were never opened. If invoices should go elsewhere, an answer with the new
address is enough.

Kind regards,
Cleo Marchetti
Billing
""",
    ),
)
