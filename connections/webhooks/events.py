"""The events that a webhook can subscribe to, by every name that MultiMail accepts: those
in its API reference, those on its pages about Discord and Inngest, and older names.
"""

from common.tables import table_rows

# By group, then by what happened: each name of the event, and who uses that name.
Groups = dict[str, dict[str, dict[str, str]]]


def _groups(table: str) -> Groups:
    groups: Groups = {}
    for group, happened, name, used_by in table_rows(table):
        names = groups.setdefault(group, {}).setdefault(happened, {})
        names[name] = used_by
    return groups


GROUPS = _groups("""
Held mail | A message is waiting for review | oversight.pending | MultiMail's API
Held mail | A message is waiting for review | message.pending_approval | MultiMail's Discord page
Held mail | A message is waiting for review | message.pending_send_approval | an older name
Held mail | A message is waiting for review | email.pending | an older name
Held mail | It was approved or rejected; “decision” says which | email.decided | MultiMail's Inngest page
Held mail | It was approved | oversight.approved | MultiMail's API
Held mail | It was approved | message.approved | MultiMail's Discord page
Held mail | It was approved | email.approved | an older name
Held mail | It was rejected | oversight.rejected | MultiMail's API
Held mail | It was rejected | message.rejected | MultiMail's Discord page
Held mail | It was rejected | email.rejected | an older name
Delivery | It was handed to the mail server | message.sent | MultiMail's API
Delivery | It was handed to the mail server | email.sent | an older name
Delivery | A mail server accepted it; that does not mean that it was read | message.delivered | MultiMail's API
Delivery | A mail server accepted it; that does not mean that it was read | email.delivered | an older name
Delivery | A mail server accepted it; that does not mean that it was read | delivery | an older name
Delivery | It bounced | message.bounced | MultiMail's API
Delivery | It bounced | email.bounced | an older name
Delivery | It bounced | bounce | an older name
Delivery | A recipient marked it as spam | message.complained | MultiMail's API
Delivery | A recipient marked it as spam | email.complained | an older name
Delivery | A recipient marked it as spam | complaint | an older name
Delivery | A recipient opened it; our gateway does not track this and never sends it |
    message.opened | MultiMail's API
Delivery | A recipient opened it; our gateway does not track this and never sends it | open | an older name
Received mail | A message arrived that the agent can read | message.received | MultiMail's API
Received mail | A message arrived that the agent can read | email.received | MultiMail's Inngest page
Received mail | A message arrived that the agent can read | inbound | an older name
""")
# Only our own gateway sends these.
OWN_GROUPS = _groups("""
Only our gateway | It was cancelled | message.cancelled | our gateway
Only our gateway | It could not be sent | message.failed | our gateway
Only our gateway | An allowlist refused it | message.refused | our gateway
""")
# All names of events.
EVENTS = [
    name
    for events in (GROUPS | OWN_GROUPS).values()
    for names in events.values()
    for name in names
]
