"""The words and colours that templates show for internal names. Only data."""

from pathlib import Path

from common.tables import table_pairs, table_rows

# Short names for the metadata by which a sender says who started a message. Other names
# are shown unchanged.
ORIGIN = table_pairs(
    """
discord_user | user
discord_user_id | user_id
discord_channel | channel
discord_guild | guild
discord_interaction_id | interaction
run_id | run
runId | run
"""
)

# What is added to a message when it is sent.
ADDITIONS = {
    "auto_cc": "Copy (Cc) to",
    "auto_bcc": "Blind copy (Bcc) to",
    "signature": "The mailbox's signature",
    "oversight_copy": "Oversight copy to",
    "ai_disclosure": "AI disclosure, also as X-AI-Generated and X-MultiMail-Identity",
    "postal_address": "Postal address",
    "unsubscribe": "Link to unsubscribe, also as List-Unsubscribe",
    "agent_identity": "Header X-Agent-Identity",
}

# Actions of the ledger by the colour of their mark. Amber is open, green is good, rose
# is bad, violet is in doubt; blue are people's decisions.
TONES = {
    action: tone
    for tone, actions in table_rows(
        """
amber | message.held message.changed connection.failing message.expiring message.late
green | message.approved message.released message.sent message.delivered decision.applied
    kill_switch.released connection.recovered
rose | message.rejected message.bounced message.failed message.complained verdict.refused act.refused decision.refused
    decision.left_after_all kill_switch.pulled webhook.poison webhook.refuted alert.failed
    destination.switched_off connection.paused person.sign_in_failed person.confirmation_failed access.denied
violet | message.gone decision.unknown decision.unattributed decision.superseded decision.without_effect
    decision.withdrawn decision.found_again
blue | verdict.given approval.recorded decision.recorded decision.confirmed decision.elsewhere
"""
    )
    for action in actions.split()
}

# Kinds of items that need attention: the word and, if it is not rose, the colour.
STUCK = {
    kind: (word, tone[0] if tone else "rose")
    for kind, word, *tone in table_rows(
        """
unknown | Outcome unknown | violet
unattributed | Decided, by whom not known | violet
withdrawn | May still be sent | violet
stalled | Not carried out
refused | Held again | amber
replaced | Both held | amber
overdue | Expired
unexplained | Unexplained decision
connection | Connection
unfetchable | Cannot be fetched
unread | Not fetched | amber
not_taken | Not taken by mail server
silent | No delivery report | amber
poison | Webhook not applied
late | Contradicting webhook | amber
refuted | False webhook
unsigned | Wrong signatures
silent_webhook | No webhooks | amber
public_url | Address
certificate | Certificate | amber
domain | Domain
below_minimum | Below the minimum | amber
ledger | Ledger not sealed | amber
ledger_stopped | Sealing stopped
ledger_broken | Ledger altered
seals_file | Seals
guards | Ledger unprotected
stopped | Desk stopped
worker | No worker
parser | No parser
alerts | Alerts late | amber
destination | Alerts switched off
bounced | Mail came back | amber
people_mail | Mail to people
redis | Redis
read_only | PostgreSQL
queue | Queue too long | amber
disk | Disk
clock | Clock
postgresql | PostgreSQL too old
rights | Rights
collation | Collation
migrations | Other version of data
idle_session | Idle transaction | amber
versions | Versions differ | amber
settings | Settings differ
backup | Backup | amber
kill_switch | Kill switch
policy | Policy
mail_sign_in | Mail not sent
mail_sender | Mail not sent
mail_blocked | Mail not sent
mail_quota | Mail not sent
mail_unreachable | Mail not sent
mail_other | Mail not sent
mail_untried | Mail not sent
mail_unknown | Mail may not be sent
"""
    )
}

OUTCOMES = {
    "approve": "approved",
    "reject": "rejected",
    "send_back": "requested changes",
}

# Through what somebody acted.
SURFACES = table_pairs(
    """
web | the web
discord | Discord
slack | Slack
webhook | a webhook
worker | a worker
command | a command
api | the API
"""
)

# Details of a ledger entry that are shown elsewhere: in its sentence, in a column or
# below.
SAID = "actor address outcome reason explanation subject before after verdict".split()

# What a person is about to do, by the name of its address, where they are asked to
# confirm who they are.
SENSITIVE = table_pairs(Path(__file__).with_name("sensitive.txt").read_text("utf-8"))
