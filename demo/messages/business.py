"""Ordinary messages of a company's other departments: invoices, meetings, contracts,
outreach; and notices that need no approval.
"""

from demo.messages.message import read_messages

BUSINESS = read_messages("""
name: invoice
to: billing@acme-corp.example
subject: Invoice $invoice for $month
why: Monthly billing run.
attach: invoice.pdf invoice.pdf application/pdf

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

name: reminder
to: accounts@fourthcoffee.example
cc: r.castellanos@fourthcoffee.example
subject: Reminder: invoice $invoice, EUR $amount
why: 12 days overdue, first reminder.
origin: cleo

Hello Rosa,

Invoice $invoice for **EUR $amount** is twelve days overdue. It may have been missed during your office move.

If you have already paid it, please ignore this email. If something is wrong with it, let me know and I'll fix it.

Kind regards,
Cleo Marchetti
Accounts

name: meeting
to: j.whitaker@alpineski.example
subject: 30 minutes on $weekday?
why: Follow-up to the demo call; calendar of Ines is free at these times.

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

name: contract
to: lee@fabrikam.example
cc: legal@fabrikam.example
subject: Re: contract draft, section 4
why: Counsel cleared draft 3 for sending.
attach: msa-draft-3.pdf draft.pdf application/pdf

Dear Lee,

Draft 3 is attached. Section 4 now reads:

> Each party's liability is limited to the fees paid in the twelve months before the event, except for intent, gross \
negligence and breach of confidence.

We accepted your wording for 4.2 and kept ours for 4.3; the reasons are in the margin. **This is a draft for \
discussion, not an offer.**

Could you let me know by $due whether this settles section 4?

Kind regards,
Mila Sorensen

name: outreach
to: julia.brandt@margies.example
subject: Your talk on writing things down
why: On the list of speakers Ana asked to thank.
origin: ana
second-mailbox: yes

Hello Julia,

Your talk on decision logs has made the rounds here: three people sent it to me in one afternoon. Your point about \
*wrong dates* changed how we write ours.

We make a small tool for these logs, and I'd like to offer your team a free year in exchange for half an hour of \
honest feedback in the spring. If that's not for you, there's no need to reply, and I won't write again.

Ana Lindholm
""")
# Notices that the second mailbox sends without approval. Their recipients are then
# known to the desk.
UNASKED = read_messages("""
name: received-acme
to: billing@acme-corp.example
subject: We have received your payment for invoice 2114
why: Automatic notice; needs no approval in this mailbox.
second-mailbox: yes
unasked: yes

Hello,

We received your payment of **EUR 1,265.00** for invoice 2114 today. Thank you.

Kind regards,
Accounts

name: moved-northwind
to: dana@northwind.example
subject: Your parcel is on its way
why: Automatic notice; needs no approval in this mailbox.
second-mailbox: yes
unasked: yes

Hello Dana,

Your order 4402 left our warehouse this morning and should reach you in two days.

The support team

name: backup-contoso
to: ops@contoso.example
subject: Nightly export finished
why: Automatic notice; needs no approval in this mailbox.
second-mailbox: yes
unasked: yes

Hello,

Last night's export finished without errors: 48,112 rows in 6 minutes.

Your Team
""")
