"""The words and pictures that templates put in place of names that only programs read. Nothing here is worked out."""

# Names that the trace understands; whatever else a sender wrote is shown as it is.
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
    "punycode": "Foreign letters in the address",
    "mixed_script": "Mixed alphabets",
    "ip_address": "A bare number as address",
    "disguised_dot": "A dot written as another character",
}

ADDITIONS = {
    "auto_cc": "A copy (Cc) to",
    "auto_bcc": "A blind copy (Bcc) to",
    "signature": "The mailbox's signature",
    "oversight_copy": "A copy for oversight to",
    "ai_disclosure": "A header that says",
}

TONES = {
    "message.held": "amber",
    "message.changed": "amber",
    "message.approved": "green",
    "message.released": "green",
    "message.sent": "green",
    "message.delivered": "green",
    "message.rejected": "rose",
    "message.bounced": "rose",
    "message.failed": "rose",
    "message.complained": "rose",
    "message.gone": "violet",
    "verdict.given": "blue",
    "verdict.refused": "rose",
    "decision.recorded": "blue",
    "decision.applied": "green",
    "decision.refused": "rose",
    "decision.unknown": "violet",
    "decision.unattributed": "violet",
    "decision.superseded": "violet",
    "decision.without_effect": "violet",
    "decision.withdrawn": "violet",
    "decision.found_again": "violet",
    "decision.confirmed": "blue",
    "decision.left_after_all": "rose",
    "kill_switch.pulled": "rose",
    "kill_switch.released": "green",
    "webhook.poison": "rose",
    "alert.failed": "rose",
    "destination.switched_off": "rose",
    "connection.paused": "rose",
    "connection.failing": "amber",
    "connection.recovered": "green",
    "connection.stale": "amber",
    "connection.fresh_again": "green",
    "message.expiring": "amber",
    "person.sign_in_failed": "rose",
    "person.confirmation_failed": "rose",
    "access.denied": "rose",
}

STUCK = {
    "unknown": ("Outcome unknown", "violet"),
    "unattributed": ("Decided, not known by whom", "violet"),
    "withdrawn": ("May still leave", "violet"),
    "stalled": ("Not carried out", "rose"),
    "refused": ("Held again", "amber"),
    "overdue": ("Past its time", "rose"),
    "connection": ("Connection", "rose"),
    "unfetchable": ("Cannot be fetched", "rose"),
    "unread": ("Not fetched", "amber"),
    "silent": ("No word", "amber"),
    "poison": ("Webhook not applied", "rose"),
    "late": ("Webhook contradicts", "amber"),
    "ledger": ("Ledger not sealed", "amber"),
    "ledger_stopped": ("Sealing stopped", "rose"),
    "ledger_broken": ("Ledger altered", "rose"),
}

OUTCOMES = {"approve": "approved", "reject": "rejected", "send_back": "requested changes"}

SURFACES = {
    "web": "the web",
    "discord": "Discord",
    "webhook": "a webhook",
    "worker": "a worker",
    "command": "a command",
    "api": "the API",
}

# Already in the sentence, in a column, or under it.
SAID = ("actor", "address", "outcome", "reason", "explanation", "subject", "before", "after", "verdict")

RULE_ICONS = {
    "link_text_lies": "link",
    "odd_link": "link",
    "hidden_text": "eye",
    "reordered_text": "compare",
    "invisible_characters": "ink",
    "secret_in_body": "key",
    "attachment_runs_code": "clip",
    "remote_content": "image",
    "many_recipients": "people",
    "first_contact": "person",
    "greeting_differs": "person",
    "name_says_address": "person",
    "reply_elsewhere": "back",
    "rejected_before": "compare",
    "parts_differ": "compare",
    "off_allowlist": "shield",
    "payment_details": "key",
    "not_visible": "eye",
}
