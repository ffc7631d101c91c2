"""The words and icons that templates show instead of internal names. Only data."""

# Names with a label in the audit trail; other names from a sender are shown unchanged.
ORIGIN = {
    "discord_user": "user",
    "discord_user_id": "user_id",
    "discord_channel": "channel",
    "discord_guild": "guild",
    "discord_interaction_id": "interaction",
    "run_id": "run",
    "runId": "run",
}

FLAGS = {
    "text_says_other_domain": "Text says another address",
    "punycode": "Foreign characters in the address",
    "mixed_script": "Mixed alphabets",
    "ip_address": "A number instead of a name",
    "disguised_dot": "A dot written as another character",
}

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

# Good, bad, open, or in doubt.
_ACTIONS_BY_TONE = {
    "amber": (
        "message.held message.changed connection.failing message.expiring message.late"
    ),
    "green": (
        "message.approved message.released message.sent message.delivered decision.applied "
        "kill_switch.released connection.recovered"
    ),
    "rose": (
        "message.rejected message.bounced message.failed message.complained verdict.refused decision.refused "
        "decision.left_after_all kill_switch.pulled webhook.poison webhook.refuted alert.failed "
        "destination.switched_off connection.paused person.sign_in_failed person.confirmation_failed access.denied"
    ),
    "violet": (
        "message.gone decision.unknown decision.unattributed decision.superseded decision.without_effect "
        "decision.withdrawn decision.found_again"
    ),
    "blue": ("verdict.given approval.recorded decision.recorded decision.confirmed"),
}
TONES = {
    action: tone
    for tone, actions in _ACTIONS_BY_TONE.items()
    for action in actions.split()
}

STUCK = {
    "unknown": ("Outcome unknown", "violet"),
    "unattributed": ("Decided, by whom not known", "violet"),
    "withdrawn": ("May still be sent", "violet"),
    "stalled": ("Not carried out", "rose"),
    "refused": ("Held again", "amber"),
    "replaced": ("Both held", "amber"),
    "overdue": ("Expired", "rose"),
    "connection": ("Connection", "rose"),
    "unfetchable": ("Cannot be fetched", "rose"),
    "unread": ("Not fetched", "amber"),
    "silent": ("No delivery report", "amber"),
    "poison": ("Webhook not applied", "rose"),
    "late": ("Contradicting webhook", "amber"),
    "refuted": ("False webhook", "rose"),
    "unsigned": ("Wrong signatures", "rose"),
    "below_minimum": ("Below the minimum", "amber"),
    "ledger": ("Ledger not sealed", "amber"),
    "ledger_stopped": ("Sealing stopped", "rose"),
    "ledger_broken": ("Ledger altered", "rose"),
}

OUTCOMES = {
    "approve": "approved",
    "reject": "rejected",
    "send_back": "requested changes",
}

SURFACES = {
    "web": "the web",
    "discord": "Discord",
    "webhook": "a webhook",
    "worker": "a worker",
    "command": "a command",
    "api": "the API",
}

# Details that are shown already: in the sentence, in a column, or below it.
SAID = (
    "actor",
    "address",
    "outcome",
    "reason",
    "explanation",
    "subject",
    "before",
    "after",
    "verdict",
)
