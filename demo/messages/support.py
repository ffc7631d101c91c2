"""Ordinary messages of the support mailbox: answers, refunds, apologies. A reviewer can
approve them quickly.
"""

from demo.messages.message import Question, read_messages

# What the customer wrote to whom `return-label` answers.
_MUGS = Question(
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
)
SUPPORT = read_messages(
    """
name: return-label
to: dana@northwind.example
subject: Re: two broken mugs
why: Return agreed under the terms of sale; label made by the carrier.
attach: label.png label.png image/png
attach: how-to-return.txt how-to-return.txt text/plain

Hi Dana,

I'm sorry about the mugs. We'll ship two new ones tomorrow, and they should reach you on **$weekday**.

Please use the attached label to send the broken ones back. Returns are free, and the second file explains how to \
pack them.

Warm regards,
Noor Haddad
Support

name: refund
to: dana@northwind.example
subject: Your refund for order $order
why: Parcel arrived damaged; refund approved by Ben in the channel.
origin: ben

Hi Dana,

Thank you for the photos, and I'm sorry your parcel arrived in that state. I've **refunded EUR $amount** to the card \
you paid with. It usually takes three to five working days to appear.

You don't need to send anything back. If you'd rather have a replacement, just reply and I'll ship one today.

Warm regards,
Ben Okoro
Support

name: outage
to: ops@contoso.example
cc: priya.nair@adatum.example
subject: What happened on $past_weekday between 09:12 and 09:47
why: Promised incident report for two customers with an SLA.

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

name: bug-fixed
to: priya.nair@adatum.example
subject: Fixed: exports with more than 65,535 rows
why: Fix for ticket $ticket was released this morning.

Hi Priya,

The export bug you reported was fixed this morning. The old code stopped at 65,535 rows without a warning:

```
GET /v1/exports/4117  ->  rows: 65535, truncated: false
```

Exports now include every row, and `truncated` is correct. I ran yours again, and it has **81,204 rows**.

Thanks for such a careful report. It saved us a day.

Noor

name: old-address
to: bounce.kim@oldmail.example
subject: Is this still the right address for your invoices?
why: Two invoices to this address went unread.
origin: cleo

Dear Kim,

It looks like our last two invoices to this address were never opened. If we should send them somewhere else, just \
reply with the new address.

Kind regards,
Cleo Marchetti
Billing
""",
    {"return-label": _MUGS},
)
