"""Addresses of the site about one's own account, people, connections, mailboxes, keys,
webhooks and alerts: what each does and who may use it (see `tests/doors.py`).
"""

from alerts.channels.discord.channel import EXAMPLE
from tests.doors_of import A, Button, ConfirmedButton, Door, U, nothing

ADMIN = (A,)
NEW = "a gannet counts slow wagons"
PASSWORDS = {"old": "correct horse battery", "password": NEW, "password_again": NEW}
DESTINATION = {
    "name": "Ops",
    "url": EXAMPLE,
    "privacy": "headers",
    "events": ["email.held"],
}


def confirmed(does, reach="desk", **more):
    """A button for admins that requires reauthentication."""
    return ConfirmedButton(does, reach, ADMIN, **more)


OWN_DOORS = {
    "mfa_login_webauthn": Door("signs in with a passkey", "public"),
    "mfa_authenticate": Door("asks for the second factor", "public"),
    "oidc-login": Door("redirects to the sign-in provider", "public"),
    "oidc-callback": Door("signs in whoever returns from the provider", "public"),
    "join": Door("accepts an invitation, or sets a new password, by a link", "public"),
    "account_reauthenticate": Door("asks for reauthentication", "public"),
    "account_resubmit": Door(
        "does what was requested before reauthentication", "public"
    ),
    "mfa_reauthenticate": Door("reauthenticates with a code", "public"),
    "mfa_reauthenticate_webauthn": Door("reauthenticates with a passkey", "public"),
    "account": Door(
        "shows one's own account, and changes name, time zone and days out of office",
        "own",
        writes=True,
        fields=lambda w: {"name": "Wanda W.", "zone": "Europe/Lisbon"},
    ),
    "own-password": Door(
        "changes one's password", "own", writes=True, fields=lambda w: PASSWORDS
    ),
    "sessions": Door("lists one's own sessions", "own"),
    "end-session": Button("ends one of one's sessions", "own", needs="session"),
    "end-other-sessions": Button("ends one's other sessions", "own", needs="session"),
    "own-chat-accounts": Door("lists one's own chat accounts", "own"),
    "unlink-chat-account": Button(
        "unlinks one's chat account",
        "own",
        fields=lambda w: {"account": w.discord.pk},
        needs="discord",
    ),
    "link-chat-account": Door(
        "links a chat account",
        "own",
        writes=True,
        sure=True,
        fields=nothing,
        needs="discord_link",
    ),
    "prove-address": Door(
        "proves that mail reaches one, by the link in a test mail",
        "own",
        writes=True,
        fields=nothing,
    ),
    "factors": Door("lists one's own second factors", "own"),
    "factor-app": Door("adds an authenticator app", "own", sure=True),
    "factor-passkey": Door("adds a passkey", "own", sure=True),
    "factor-remove": Button(
        "removes one's second factor", "own", sure=True, needs="factor"
    ),
    "recovery-codes": ConfirmedButton("generates recovery codes", "own", needs="app"),
}

PEOPLE_DOORS = {
    "people": Door("lists the people that one administers", "own", (A, U)),
    "person": Door(
        "shows a person that one administers", "own", (A, U), needs="person"
    ),
    "invite": Door(
        "invites somebody, for what one administers",
        "own",
        ADMIN,
        sure=True,
        fields=lambda w: {
            "email": "new@yourteam.example",
            "roles": "reviewer",
            "place": "all",
        },
    ),
    "withdraw-invitation": confirmed(
        "withdraws an invitation",
        needs="invitation",
    ),
    "second-factor": Door("shows which roles need a second factor", "desk", ADMIN),
    "set-second-factor": confirmed(
        "sets which roles require a second factor",
        fields=lambda w: {"role": "auditor", "needed": "yes"},
    ),
    "take-factors-off": confirmed(
        "removes somebody's second factors",
        needs="factor_of_other",
    ),
    "add-role": confirmed(
        "gives somebody a role",
        is_gentle=True,
        fields=lambda w: {"role": "auditor", "place": "all"},
        needs="person",
    ),
    "remove-role": confirmed(
        "removes a role of somebody",
        fields=lambda w: {"grant": w.other_grant.pk},
        needs="person",
    ),
    "deactivate-person": confirmed("deactivates somebody", needs="person"),
    "reactivate-person": confirmed(
        "reactivates somebody",
        needs="inactive_person",
    ),
    "password-link": confirmed(
        "creates a link for a new password",
        needs="person",
    ),
    "remove-chat-account": confirmed(
        "unlinks somebody's chat account",
        fields=lambda w: {"account": w.discord.pk},
        needs="other_discord",
    ),
    "pending-changes": Door(
        "lists the changes that wait for a second admin, for what one administers",
        "own",
        ADMIN,
    ),
    "ask-second-admin": Button(
        "asks a second admin for a change",
        "own",
        ADMIN,
        writes=True,
        fields=lambda w: {"change": w.packed_change, "reason": "Support writes to it"},
    ),
    "set-mail-subjects": confirmed(
        "sets whether mails to people name subjects",
        fields=lambda w: {"on": "no"},
    ),
    "set-second-admin": confirmed(
        "sets whether loosening waits for a second admin",
        fields=lambda w: {"on": "yes"},
        needs="person",
    ),
    "accept-change": confirmed(
        "accepts a change as the second admin",
        "mailbox",
        needs="pending_change",
    ),
    "decline-change": Button(
        "declines a change",
        "mailbox",
        ADMIN,
        writes=True,
        fields=lambda w: {"reason": "No"},
        needs="pending_change",
    ),
    "change-secret": confirmed(
        "shows the secret that one's own change made, once",
        "own",
        covers="mailbox",
        needs="made_secret",
    ),
    "withdraw-change": Button(
        "withdraws one's own change", "own", writes=True, needs="own_change"
    ),
    "setup": Door("shows the setup page", "desk", ADMIN),
    "setup-away": Button("dismisses the reminder of the setup page", "desk", ADMIN),
}

CONNECTION_DOORS = {
    "add-connection": Door(
        "adds a connection", "desk", ADMIN, sure=True, fields=nothing
    ),
    "connection": Door("shows a connection", "mailbox"),
    "rename-connection": Button(
        "renames a connection",
        "connection",
        ADMIN,
        writes=True,
        fields=lambda w: {"name": "Other"},
    ),
    "connection-address": Button(
        "changes the address of a connection",
        "connection",
        ADMIN,
        sure=True,
        fields=lambda w: {"address": "http://127.0.0.1:1"},
    ),
    "pause-connection": Button(
        "pauses a connection",
        "connection",
        ADMIN,
        writes=True,
        fields=lambda w: {"reason": "Wait"},
    ),
    "resume-connection": Button(
        "resumes a connection", "connection", ADMIN, writes=True, needs="pause"
    ),
    "remove-connection": Door(
        "removes a connection; its history stays",
        "desk",
        ADMIN,
        writes=True,
        sure=True,
        fields=lambda w: {"name": w.connection.name},
    ),
    "connection-key": confirmed(
        "sets or removes a key of a connection",
        "connection",
        fields=lambda w: {"do": "remove"},
    ),
    "register-own-webhook": Button(
        "registers the desk's webhook at MultiMail", "connection", ADMIN, sure=True
    ),
    "rotate-own-webhook": Button(
        "changes the webhook's secret",
        "connection",
        ADMIN,
        sure=True,
        fields=lambda w: {"overlap": "day"},
    ),
    "take-secret": Button(
        "sets the webhook's secret by hand",
        "connection",
        ADMIN,
        sure=True,
        fields=lambda w: {"overlap": "day", "secret": "whsec_by_hand"},
    ),
    "end-old-secret": confirmed(
        "stops accepting the old secret",
        "connection",
        needs="old_secret",
    ),
}

ACCOUNT_DOORS = {
    "mailboxes": Door("lists the mailboxes, for what one may see", "own"),
    "add-mailbox": Door("makes a mailbox", "some connection", ADMIN, fields=nothing),
    "mailbox": Door("shows a mailbox", "mailbox"),
    "mailbox-windows": Button(
        "changes the desk's own settings of a mailbox",
        "mailbox",
        ADMIN,
        writes=True,
        fields=lambda w: {"undo_seconds": 9},
    ),
    "mailbox-settings": Button(
        "changes MultiMail's settings of a mailbox",
        "mailbox",
        ADMIN,
        sure=True,
        fields=lambda w: {
            "display_name": "Other",
            "default_gate_timing": "gate_first",
        },
    ),
    "mailbox-mode": Button(
        "makes the oversight mode stricter",
        "mailbox",
        ADMIN,
        fields=lambda w: {"mode": "read_only"},
    ),
    "loosen-mailbox": Door(
        "makes the oversight mode looser",
        "mailbox",
        ADMIN,
        sure=True,
        fields=lambda w: {"to": "monitored"},
    ),
    "set-person-figures": confirmed(
        "shows individual figures, or of teams only",
        fields=lambda w: {"on": "yes", "because": "Works agreement 7"},
    ),
    "delete-mailbox": Door(
        "deletes a mailbox",
        "connection",
        ADMIN,
        sure=True,
        fields=lambda w: {"address": w.mailbox.address},
    ),
    "api-keys": Door("lists the API keys of an account", "some connection", ADMIN),
    "add-api-key": Door(
        "creates an API key", "connection", ADMIN, sure=True, fields=nothing
    ),
    "api-key": Door("shows an API key", "connection", ADMIN),
    "change-api-key": Button("changes an API key", "connection", ADMIN, sure=True),
    "api-key-owner": Button(
        "sets the owner of an API key", "connection", ADMIN, sure=True
    ),
    "pause-api-key": Button(
        "pauses an API key, or resumes it", "connection", ADMIN, sure=True
    ),
    "revoke-api-key": Door(
        "revokes an API key", "connection", ADMIN, sure=True, fields=nothing
    ),
    "domains": Door("lists the domains of an account", "some connection", ADMIN),
    "add-domain": Button("adds a domain to an account", "connection", ADMIN, sure=True),
    "verify-domain": Button("checks the DNS records of a domain", "connection", ADMIN),
    "rotate-domain": Button(
        "rotates the DKIM key of a domain", "connection", ADMIN, sure=True
    ),
    "delete-domain": Button("removes a domain", "connection", ADMIN, sure=True),
    "webhooks": Door("lists the webhooks of an account", "some connection", ADMIN),
    "add-webhook": Door(
        "registers a webhook", "connection", ADMIN, sure=True, fields=nothing
    ),
    "webhook": Door("shows a webhook with its deliveries", "connection", ADMIN),
    "test-webhook": Button(
        "sends a test event to a webhook", "connection", ADMIN, sure=True
    ),
    "rotate-webhook": Button(
        "rotates the secret of a webhook",
        "connection",
        ADMIN,
        sure=True,
        fields=lambda w: {"overlap": "86400"},
    ),
    "delete-webhook": Door(
        "ends a webhook", "connection", ADMIN, sure=True, fields=nothing
    ),
    "replay-delivery": Button(
        "sends a webhook delivery again", "connection", ADMIN, sure=True
    ),
}

ALERT_DOORS = {
    "add-destination": Door(
        "adds a destination",
        "desk",
        ADMIN,
        writes=True,
        sure=True,
        fields=lambda w: DESTINATION,
    ),
    "destination": Door(
        "changes a destination",
        "desk",
        ADMIN,
        writes=True,
        fields=lambda w: {"name": "Others", "privacy": "minimal"},
        needs="destination",
    ),
    "test-destination": Button(
        "sends a test to a destination", "desk", ADMIN, writes=True, needs="destination"
    ),
    "switch-on-destination": Button(
        "switches a destination on", "desk", ADMIN, writes=True, needs="destination"
    ),
    "switch-off-destination": Button(
        "switches a destination off", "desk", ADMIN, writes=True, needs="signed_place"
    ),
    "rotate-destination": Button(
        "rotates the secret of a signed webhook",
        "desk",
        ADMIN,
        sure=True,
        needs="signed_place",
    ),
    "add-route": Door(
        "adds a route to a destination",
        "desk",
        ADMIN,
        sure=True,
        fields=lambda w: {"events": ["email.held"], "do": "add"},
        needs="destination",
    ),
    "remove-route": Button(
        "removes a route of a destination",
        "desk",
        ADMIN,
        writes=True,
        needs="destination",
    ),
    "alert-log": Door(
        "lists deliveries of alerts, for messages that one may see", "own"
    ),
    "alert": Door(
        "shows one delivery, for a message that one may see",
        "mailbox",
        needs="told_alert",
    ),
    "send-alert-again": Button("sends an alert again", "desk", ADMIN, needs="alert"),
    "send-alerts-again": Button(
        "sends alerts again that were given up", "desk", ADMIN, needs="alert"
    ),
    "remove-destination": Button(
        "removes a destination", "desk", ADMIN, writes=True, needs="destination"
    ),
}
