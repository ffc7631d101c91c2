"""The words and colours that templates show for internal names. Only data."""

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
SENSITIVE = {
    "activate-draft": "activate a version of the policy",
    "accept-change": "accept a change as the second admin",
    "add-api-key": "create an API key",
    "add-connection": "add a connection",
    "add-destination": "add an alert destination",
    "add-domain": "add a domain",
    "change-secret": "see the secret of a change",
    "add-mailbox": "add a mailbox",
    "add-role": "give somebody a role",
    "add-route": "notify an alert destination about more",
    "add-webhook": "register a webhook",
    "api-key-owner": "set the owner of an API key",
    "bulk-decide": "approve several messages together",
    "calendar": "change a calendar",
    "change-allowlist": "change an allowlist",
    "change-api-key": "change an API key",
    "connection-address": "change the address of a connection",
    "connection-key": "change a key of a connection",
    "deactivate-person": "deactivate somebody",
    "delete-domain": "remove a domain",
    "delete-mailbox": "delete a mailbox",
    "delete-webhook": "delete a webhook",
    "destination": "change an alert destination",
    "end-old-secret": "end an old webhook secret",
    "export": "export history",
    "factor-app": "set up an authenticator app",
    "factor-passkey": "add a passkey",
    "factor-remove": "remove a second factor",
    "hold-all": "let mail leave at the gateway again",
    "invite": "invite somebody",
    "link-chat-account": "link a chat account",
    "loosen-mailbox": "loosen the oversight of a mailbox",
    "mailbox-settings": "change the settings of a mailbox",
    "own-password": "change your password",
    "policy-group": "change a group of the policy",
    "pause-api-key": "pause or resume an API key",
    "pause-key-of-flood": "pause an API key",
    "password-link": "create a link for a new password",
    "reactivate-person": "reactivate somebody",
    "recovery-codes": "create new recovery codes",
    "register-own-webhook": "register the desk's webhook",
    "replay-delivery": "send a webhook's delivery again",
    "release-switch": "release the kill switch",
    "set-caps": "change the limits",
    "set-mail-subjects": "change what mails to people name",
    "set-person-figures": "set whether individual figures are shown",
    "set-second-admin": "set whether changes wait for a second admin",
    "remove-connection": "remove a connection",
    "remove-chat-account": "unlink somebody's chat account",
    "remove-role": "remove a role from somebody",
    "revoke-api-key": "revoke an API key",
    "rotate-destination": "rotate the secret of an alert destination",
    "rotate-domain": "rotate the DKIM key of a domain",
    "rotate-own-webhook": "rotate the secret of the desk's webhook",
    "rotate-webhook": "rotate the secret of a webhook",
    "set-second-factor": "set which roles need a second factor",
    "take-factors-off": "remove somebody's second factors",
    "take-secret": "enter a webhook secret",
    "test-webhook": "send a test event to a webhook",
    "unlink-chat-account": "unlink a chat account",
    "withdraw-invitation": "withdraw an invitation",
}
