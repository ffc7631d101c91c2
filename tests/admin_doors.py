"""The doors of the admin's side: one's own account, people, connections, mailboxes, keys, webhooks, lists, alerts."""

from alerts.channels.discord.addresses import EXAMPLE
from tests.doors_of import A, Door, R, U, nothing

NEW = "a gannet counts slow wagons"
PASSWORDS = {"old": "correct horse battery", "new": NEW, "again": NEW}
DESTINATION = {"name": "Ops", "url": EXAMPLE, "privacy": "headers", "events": ["email.held"]}

OWN_DOORS = {
    "mfa_login_webauthn": Door("signs in with a passkey", "public"),
    "mfa_authenticate": Door("asks for the second factor", "public"),
    "oidc-login": Door("redirects to the sign-in provider", "public"),
    "oidc-callback": Door("signs in whoever returns from the provider", "public"),
    "join": Door("accepts an invitation, or sets a new password, by a link", "public"),
    "account_reauthenticate": Door("asks for reauthentication", "public"),
    "account_resubmit": Door("does what was requested before reauthentication", "public"),
    "mfa_reauthenticate": Door("reauthenticates with a code", "public"),
    "mfa_reauthenticate_webauthn": Door("reauthenticates with a passkey", "public"),
    "account": Door("shows one's own account", "own"),
    "own-name": Door("changes one's name", "own", writes=True, fields=lambda w: {"name": "Wanda W."}),
    "own-away": Door(
        "sets when one is out of office",
        "own",
        writes=True,
        fields=lambda w: {"away_first": "2030-01-01", "away_last": "2030-01-05"},
    ),
    "own-time-zone": Door("sets one's time zone", "own", writes=True, fields=lambda w: {"zone": "Europe/Lisbon"}),
    "own-password": Door("changes one's password", "own", writes=True, fields=lambda w: PASSWORDS),
    "sessions": Door("lists one's own sessions", "own"),
    "end-session": Door("ends one of one's sessions", "own", fields=nothing, needs="session"),
    "end-other-sessions": Door("ends one's other sessions", "own", fields=nothing, needs="session"),
    "own-discord": Door("lists one's own Discord accounts", "own"),
    "unlink-discord": Door(
        "unlinks one's Discord account", "own", fields=lambda w: {"account": w.discord.pk}, needs="discord"
    ),
    "link-discord": Door(
        "links a Discord account", "own", writes=True, sure=True, fields=nothing, needs="discord_link"
    ),
    "factors": Door("lists one's own second factors", "own"),
    "factor-app": Door("adds an authenticator app", "own", sure=True),
    "factor-passkey": Door("adds a passkey", "own", sure=True),
    "factor-name": Door(
        "renames one's second factor", "own", sure=True, fields=lambda w: {"name": "Laptop"}, needs="factor"
    ),
    "factor-remove": Door("removes one's second factor", "own", sure=True, fields=nothing, needs="factor"),
    "recovery-codes": Door("generates recovery codes", "own", writes=True, sure=True, fields=nothing, needs="app"),
}

PEOPLE_DOORS = {
    "people": Door("lists the people that one administers", "own", (A, U)),
    "person": Door("shows a person that one administers", "own", (A, U), needs="person"),
    "invite": Door(
        *("invites somebody, for what one administers", "own", (A,)),
        sure=True,
        fields=lambda w: {"email": "new@yourteam.example", "roles": "reviewer", "place": "all", "days": 7},
    ),
    "invite-renew": Door(
        "renews the link of an invitation", "desk", (A,), writes=True, sure=True, fields=nothing, needs="invitation"
    ),
    "withdraw-invitation": Door(
        "withdraws an invitation", "desk", (A,), writes=True, sure=True, fields=nothing, needs="invitation"
    ),
    "second-factor": Door("shows who has a second factor", "desk", (A,)),
    "set-second-factor": Door(
        *("sets which roles require a second factor", "desk", (A,)),
        writes=True,
        sure=True,
        fields=lambda w: {"role": "auditor", "needed": "yes"},
    ),
    "take-factors-off": Door(
        "removes somebody's second factors",
        "desk",
        (A,),
        writes=True,
        sure=True,
        fields=nothing,
        needs="factor_of_other",
    ),
    "add-role": Door(
        *("gives somebody a role", "desk", (A,)),
        writes=True,
        sure=True,
        is_gentle=True,
        fields=lambda w: {"role": "auditor", "place": "all"},
        needs="person",
    ),
    "remove-role": Door(
        *("removes a role of somebody", "desk", (A,)),
        writes=True,
        sure=True,
        fields=lambda w: {"grant": w.other_grant.pk},
        needs="person",
    ),
    "deactivate-person": Door(
        "deactivates somebody", "desk", (A,), writes=True, sure=True, fields=nothing, needs="person"
    ),
    "reactivate-person": Door(
        "reactivates somebody", "desk", (A,), writes=True, sure=True, fields=nothing, needs="inactive_person"
    ),
    "password-link": Door(
        "creates a link for a new password", "desk", (A,), writes=True, sure=True, fields=nothing, needs="person"
    ),
    "remove-discord": Door(
        *("unlinks somebody's Discord account", "desk", (A,)),
        writes=True,
        sure=True,
        fields=lambda w: {"account": w.discord.pk},
        needs="other_discord",
    ),
    "pending-changes": Door("lists the changes that wait for a second admin, for what one administers", "own", (A,)),
    "ask-second-admin": Door(
        "asks a second admin for a change",
        *("own", (A,)),
        writes=True,
        fields=lambda w: {"change": w.packed_change, "reason": "Support writes to it"},
    ),
    "set-second-admin": Door(
        *("sets whether loosening waits for a second admin", "desk", (A,)),
        writes=True,
        sure=True,
        fields=lambda w: {"on": "yes"},
        needs="person",
    ),
    "accept-change": Door(
        "accepts a change as the second admin",
        *("mailbox", (A,)),
        writes=True,
        sure=True,
        fields=nothing,
        needs="pending_change",
    ),
    "decline-change": Door(
        "declines a change", "mailbox", (A,), writes=True, fields=lambda w: {"reason": "No"}, needs="pending_change"
    ),
    "change-secret": Door(
        "shows the secret that one's own change made, once",
        "own",
        (A,),
        covers="mailbox",
        writes=True,
        sure=True,
        fields=nothing,
        needs="made_secret",
    ),
    "withdraw-change": Door("withdraws one's own change", "own", writes=True, fields=nothing, needs="own_change"),
    "setup": Door("shows the setup page", "desk", (A,)),
    "setup-away": Door("dismisses the reminder of the setup page", "desk", (A,), fields=nothing),
}

CONNECTION_DOORS = {
    "add-connection": Door("adds a connection", "desk", (A,), sure=True, fields=nothing),
    "connection": Door("shows a connection", "mailbox"),
    "rename-connection": Door(
        "renames a connection", "connection", (A,), writes=True, fields=lambda w: {"name": "Other"}
    ),
    "connection-address": Door(
        *("changes the address of a connection", "connection", (A,)),
        sure=True,
        fields=lambda w: {"address": "http://127.0.0.1:1"},
    ),
    "connection-fingerprint": Door(
        *("requires the fingerprint of every decision, or no longer", "connection", (A,)),
        sure=True,
        fields=lambda w: {"required": "1"},
    ),
    "pause-connection": Door(
        "pauses a connection", "connection", (A,), writes=True, fields=lambda w: {"reason": "Wait"}
    ),
    "resume-connection": Door("resumes a connection", "connection", (A,), writes=True, fields=nothing, needs="pause"),
    "remove-connection": Door(
        *("removes a connection; its history stays", "desk", (A,)),
        writes=True,
        sure=True,
        fields=lambda w: {"name": w.connection.name},
    ),
    "check-connection": Door(
        "checks the keys of a connection with MultiMail", "connection", (A,), writes=True, fields=nothing
    ),
    "connection-key": Door(
        *("sets or removes a key of a connection", "connection", (A,)),
        writes=True,
        sure=True,
        fields=lambda w: {"do": "remove"},
    ),
    "register-own-webhook": Door(
        "registers the desk's webhook at MultiMail", "connection", (A,), sure=True, fields=nothing
    ),
    "test-own-webhook": Door("has a test sent", "connection", (A,), fields=nothing),
    "rotate-own-webhook": Door(
        "changes the webhook's secret", "connection", (A,), sure=True, fields=lambda w: {"overlap": "day"}
    ),
    "take-secret": Door(
        "sets the webhook's secret by hand", "connection", (A,), sure=True, fields=lambda w: {"overlap": "day"}
    ),
    "end-old-secret": Door(
        "stops accepting the old secret", "connection", (A,), writes=True, sure=True, fields=nothing, needs="old_secret"
    ),
}

ACCOUNT_DOORS = {
    "mailboxes": Door("lists the mailboxes, for what one may see", "own"),
    "add-mailbox": Door("makes a mailbox", "some connection", (A,), fields=nothing),
    "mailbox": Door("shows a mailbox", "mailbox"),
    "mailbox-windows": Door(
        *("sets the undo window and the expiry of a mailbox", "mailbox", (A,)),
        writes=True,
        fields=lambda w: {"undo_seconds": 9, "expire_hours": 3},
    ),
    "mailbox-settings": Door(
        *("changes MultiMail's settings of a mailbox", "mailbox", (A,)),
        sure=True,
        fields=lambda w: {"display_name": "Other", "default_gate_timing": "gate_first", "simplify_html": "1"},
    ),
    "mailbox-mode": Door("makes the oversight mode stricter", "mailbox", (A,), fields=lambda w: {"mode": "read_only"}),
    "loosen-mailbox": Door(
        "makes the oversight mode looser", "mailbox", (A,), sure=True, fields=lambda w: {"to": "monitored"}
    ),
    "oversight-minimum": Door("shows the minimum oversight mode, and the mailboxes below it", "own", (A, U)),
    "set-oversight-minimum": Door(
        *("sets the minimum oversight mode", "desk", (A,)),
        writes=True,
        sure=True,
        fields=lambda w: {"minimum": "gated_send"},
    ),
    "practice": Door("shows where practice messages are on, and what was planted", "own", (A, U)),
    "practice-on": Door(
        *("asks a second admin to switch practice messages on", "desk", (A,)),
        sure=True,
        fields=lambda w: {"where": "all", "one_in": 50},
    ),
    "practice-off": Door("switches practice messages off", "desk", (A,), fields=lambda w: {"where": "all"}),
    "confirm-practice": Door("stores that one knows of practice messages", "own", (R,), writes=True, fields=nothing),
    "set-person-figures": Door(
        *("shows figures of single people, or of teams only", "desk", (A,)),
        writes=True,
        sure=True,
        fields=lambda w: {"on": "yes", "because": "Works agreement 7"},
    ),
    "raise-mailbox": Door("raises a mailbox to the minimum", "mailbox", (A,), fields=nothing),
    "delete-mailbox": Door(
        "deletes a mailbox", "connection", (A,), sure=True, fields=lambda w: {"address": w.mailbox.address}
    ),
    "api-keys": Door("lists the API keys of an account", "some connection", (A,)),
    "add-api-key": Door("creates an API key", "connection", (A,), sure=True, fields=nothing),
    "api-key": Door("shows an API key", "connection", (A,)),
    "change-api-key": Door("changes an API key", "connection", (A,), sure=True, fields=nothing),
    "api-key-owner": Door("sets the owner of an API key", "connection", (A,), sure=True, fields=nothing),
    "pause-api-key": Door("pauses an API key, or resumes it", "connection", (A,), sure=True, fields=nothing),
    "revoke-api-key": Door("revokes an API key", "connection", (A,), sure=True, fields=nothing),
    "domains": Door("lists the domains of an account", "some connection", (A,)),
    "add-domain": Door("adds a domain to an account", "connection", (A,), sure=True, fields=nothing),
    "verify-domain": Door("checks the DNS records of a domain", "connection", (A,), fields=nothing),
    "rotate-domain": Door("rotates the DKIM key of a domain", "connection", (A,), sure=True, fields=nothing),
    "delete-domain": Door("removes a domain", "connection", (A,), sure=True, fields=nothing),
    "webhooks": Door("lists the webhooks of an account", "some connection", (A,)),
    "add-webhook": Door("registers a webhook", "connection", (A,), sure=True, fields=nothing),
    "webhook-bodies": Door("shows sample bodies of events", "connection", (A,)),
    "webhook": Door("shows a webhook with its deliveries", "connection", (A,)),
    "test-webhook": Door("sends a test event to a webhook", "connection", (A,), sure=True, fields=nothing),
    "rename-webhook": Door("names a webhook", "connection", (A,), fields=lambda w: {"name": "Billing"}),
    "rotate-webhook": Door(
        "rotates the secret of a webhook", "connection", (A,), sure=True, fields=lambda w: {"overlap": "86400"}
    ),
    "delete-webhook": Door("ends a webhook", "connection", (A,), sure=True, fields=nothing),
    "replay-delivery": Door("sends a webhook delivery again", "connection", (A,), sure=True, fields=nothing),
}

ALERT_DOORS = {
    "add-destination": Door("adds a destination", "desk", (A,), writes=True, sure=True, fields=lambda w: DESTINATION),
    "destination": Door(
        *("changes a destination", "desk", (A,)),
        writes=True,
        fields=lambda w: {"name": "Others", "privacy": "minimal"},
        needs="destination",
    ),
    "test-destination": Door(
        "sends a test to a destination", "desk", (A,), writes=True, fields=nothing, needs="destination"
    ),
    "switch-on-destination": Door(
        "switches a destination on", "desk", (A,), writes=True, fields=nothing, needs="destination"
    ),
    "switch-off-destination": Door(
        "switches a destination off", "desk", (A,), writes=True, fields=nothing, needs="signed_place"
    ),
    "rotate-destination": Door(
        "rotates the secret of a signed webhook", "desk", (A,), sure=True, fields=nothing, needs="signed_place"
    ),
    "add-route": Door(
        *("adds a route to a destination", "desk", (A,)),
        sure=True,
        fields=lambda w: {"events": ["email.held"], "do": "add"},
        needs="destination",
    ),
    "remove-route": Door(
        "removes a route of a destination", "desk", (A,), writes=True, fields=nothing, needs="destination"
    ),
    "alert-log": Door("lists deliveries of alerts, for messages that one may see", "own"),
    "alert": Door("shows one delivery, for a message that one may see", "mailbox", needs="told_alert"),
    "send-alert-again": Door("sends an alert again", "desk", (A,), fields=nothing, needs="alert"),
    "send-alerts-again": Door("sends alerts again that were given up", "desk", (A,), fields=nothing, needs="alert"),
    "remove-destination": Door("removes a destination", "desk", (A,), writes=True, fields=nothing, needs="destination"),
}
