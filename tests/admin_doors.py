"""The doors of the admin's side: one's own account, people, connections, mailboxes, keys, webhooks, lists, alerts."""

from alerts.channels.discord.addresses import LIKE
from tests.doors_of import A, Door, U, nothing

NEW = "a gannet counts slow wagons"
PASSWORDS = {"old": "correct horse battery", "new": NEW, "again": NEW}
PLACE = {"name": "Ops", "url": LIKE, "privacy": "headers", "events": ["email.held"]}

OWN_DOORS = {
    "mfa_login_webauthn": Door("signs in with a passkey", "public"),
    "mfa_authenticate": Door("asks for the second factor", "public"),
    "oidc-login": Door("leads to the provider that one signs in with", "public"),
    "oidc-callback": Door("signs in who comes back from the provider", "public"),
    "join": Door("lets somebody in by a link, or sets a new password by one", "public"),
    "account_reauthenticate": Door("asks to confirm who one is", "public"),
    "account_go_on": Door("does what was asked for before one confirmed who one is", "public"),
    "mfa_reauthenticate": Door("takes a code to confirm who one is", "public"),
    "mfa_reauthenticate_webauthn": Door("takes a passkey to confirm who one is", "public"),
    "account": Door("shows one's own account", "own"),
    "own-name": Door("takes another name", "own", writes=True, fields=lambda w: {"name": "Wanda W."}),
    "own-time-zone": Door("chooses one's time zone", "own", writes=True, fields=lambda w: {"zone": "Europe/Lisbon"}),
    "own-password": Door("takes another password", "own", writes=True, fields=lambda w: PASSWORDS),
    "sessions": Door("lists one's own sessions", "own"),
    "end-session": Door("ends a session of one's own", "own", fields=nothing, needs="session"),
    "end-other-sessions": Door("ends one's other sessions", "own", fields=nothing, needs="session"),
    "own-discord": Door("lists one's own Discord accounts", "own"),
    "unlink-discord": Door(
        "takes a Discord account of one's own off", "own", fields=lambda w: {"account": w.discord.pk}, needs="discord"
    ),
    "link-discord": Door(
        "links a Discord account by its link", "own", writes=True, fields=nothing, needs="discord_link"
    ),
    "factors": Door("lists one's own second factors", "own"),
    "factor-app": Door("adds an app that shows codes", "own", sure=True),
    "factor-passkey": Door("adds a passkey", "own", sure=True),
    "factor-name": Door(
        "names a factor of one's own", "own", sure=True, fields=lambda w: {"name": "Laptop"}, needs="factor"
    ),
    "factor-remove": Door("removes a factor of one's own", "own", sure=True, fields=nothing, needs="factor"),
    "recovery-codes": Door("makes new recovery codes", "own", writes=True, sure=True, fields=nothing, needs="app"),
}

PEOPLE_DOORS = {
    "people": Door("lists who belongs to the desk, of those one looks after", "own", (A, U)),
    "person": Door("shows a person, of those one looks after", "own", (A, U), needs="person"),
    "invite": Door(
        *("invites somebody, for what one looks after", "own", (A,)),
        sure=True,
        fields=lambda w: {"email": "new@yourteam.example", "roles": "reviewer", "place": "all", "days": 7},
    ),
    "invite-anew": Door(
        "makes the link of an invitation anew", "desk", (A,), writes=True, sure=True, fields=nothing, needs="invitation"
    ),
    "withdraw-invitation": Door(
        "withdraws an invitation", "desk", (A,), writes=True, sure=True, fields=nothing, needs="invitation"
    ),
    "second-factor": Door("shows who has a second factor", "desk", (A,)),
    "set-second-factor": Door(
        *("says which role needs a second factor", "desk", (A,)),
        writes=True,
        sure=True,
        fields=lambda w: {"role": "auditor", "needed": "yes"},
    ),
    "take-factors-off": Door(
        "takes the factors off somebody", "desk", (A,), writes=True, sure=True, fields=nothing, needs="factor_of_other"
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
        *("takes a role from somebody", "desk", (A,)),
        writes=True,
        sure=True,
        fields=lambda w: {"grant": w.other_grant.pk},
        needs="person",
    ),
    "deactivate-person": Door(
        "keeps somebody out", "desk", (A,), writes=True, sure=True, fields=nothing, needs="person"
    ),
    "reactivate-person": Door(
        "lets somebody in again", "desk", (A,), writes=True, sure=True, fields=nothing, needs="inactive_person"
    ),
    "password-link": Door(
        "makes a link for a new password", "desk", (A,), writes=True, sure=True, fields=nothing, needs="person"
    ),
    "remove-discord": Door(
        *("takes a Discord account off somebody", "desk", (A,)),
        writes=True,
        sure=True,
        fields=lambda w: {"account": w.discord.pk},
        needs="other_discord",
    ),
    "setup": Door("leads through the first run", "desk", (A,)),
    "setup-away": Door("puts the reminder of the first run away", "desk", (A,), fields=nothing),
}

CONNECTION_DOORS = {
    "add-connection": Door("adds a connection", "desk", (A,), sure=True, fields=nothing),
    "connection": Door("shows a connection", "mailbox"),
    "rename-connection": Door(
        "renames a connection", "connection", (A,), writes=True, fields=lambda w: {"name": "Other"}
    ),
    "connection-address": Door(
        *("has a gateway asked at another address", "connection", (A,)),
        sure=True,
        fields=lambda w: {"address": "http://127.0.0.1:1"},
    ),
    "pause-connection": Door(
        "pauses a connection", "connection", (A,), writes=True, fields=lambda w: {"reason": "Wait"}
    ),
    "resume-connection": Door(
        "lets a connection go on", "connection", (A,), writes=True, fields=nothing, needs="pause"
    ),
    "remove-connection": Door(
        *("removes a connection; its history stays", "desk", (A,)),
        writes=True,
        sure=True,
        fields=lambda w: {"name": w.connection.name},
    ),
    "check-connection": Door("asks MultiMail what the keys may do", "connection", (A,), writes=True, fields=nothing),
    "connection-key": Door(
        *("puts a key into a slot, or takes one out", "connection", (A,)),
        writes=True,
        sure=True,
        fields=lambda w: {"do": "remove"},
    ),
    "register-own-hook": Door("has MultiMail send its events here", "connection", (A,), sure=True, fields=nothing),
    "test-own-hook": Door("has a test sent", "connection", (A,), fields=nothing),
    "rotate-own-hook": Door(
        "changes the webhook's secret", "connection", (A,), sure=True, fields=lambda w: {"overlap": "day"}
    ),
    "take-secret": Door(
        "takes a secret of the webhook by hand", "connection", (A,), sure=True, fields=lambda w: {"overlap": "day"}
    ),
    "end-old-secret": Door(
        "takes the old secret no more", "connection", (A,), writes=True, sure=True, fields=nothing, needs="old_secret"
    ),
}

ACCOUNT_DOORS = {
    "mailboxes": Door("lists the mailboxes, of what one sees", "own"),
    "add-mailbox": Door("makes a mailbox", "some connection", (A,), fields=nothing),
    "mailbox": Door("shows a mailbox", "mailbox"),
    "mailbox-windows": Door(
        *("sets how long a decision can be undone, and when mail expires", "mailbox", (A,)),
        writes=True,
        fields=lambda w: {"undo_seconds": 9, "expire_hours": 3},
    ),
    "mailbox-settings": Door(
        *("changes how MultiMail treats a mailbox", "mailbox", (A,)),
        fields=lambda w: {"display_name": "Other", "default_gate_timing": "gate_first"},
    ),
    "mailbox-mode": Door("tightens the mode of a mailbox", "mailbox", (A,), fields=lambda w: {"mode": "read_only"}),
    "loosen-mailbox": Door(
        "loosens the mode of a mailbox", "mailbox", (A,), sure=True, fields=lambda w: {"to": "monitored"}
    ),
    "delete-mailbox": Door(
        "deletes a mailbox", "connection", (A,), sure=True, fields=lambda w: {"address": w.mailbox.address}
    ),
    "api-keys": Door("lists the API keys of an account", "some connection", (A,)),
    "add-api-key": Door("makes an API key", "connection", (A,), sure=True, fields=nothing),
    "api-key": Door("shows an API key", "connection", (A,)),
    "change-api-key": Door("changes an API key", "connection", (A,), sure=True, fields=nothing),
    "api-key-owner": Door("says whose program an API key is", "connection", (A,), sure=True, fields=nothing),
    "revoke-api-key": Door("revokes an API key", "connection", (A,), sure=True, fields=nothing),
    "domains": Door("lists the domains of an account", "some connection", (A,)),
    "add-domain": Door("adds a domain to an account", "connection", (A,), sure=True, fields=nothing),
    "verify-domain": Door("checks the DNS records of a domain", "connection", (A,), fields=nothing),
    "rotate-domain": Door("rotates the DKIM key of a domain", "connection", (A,), sure=True, fields=nothing),
    "delete-domain": Door("removes a domain", "connection", (A,), sure=True, fields=nothing),
    "hooks": Door("lists the webhooks of an account", "some connection", (A,)),
    "add-hook": Door("registers a webhook", "connection", (A,), sure=True, fields=nothing),
    "hook-bodies": Door("shows what events send", "connection", (A,)),
    "hook": Door("shows a webhook with its deliveries", "connection", (A,)),
    "test-hook": Door("has a webhook tested", "connection", (A,), fields=nothing),
    "rotate-hook": Door(
        "gives a webhook another secret", "connection", (A,), sure=True, fields=lambda w: {"overlap": "86400"}
    ),
    "delete-hook": Door("ends a webhook", "connection", (A,), sure=True, fields=nothing),
    "replay-delivery": Door("has an event delivered again", "connection", (A,), fields=nothing),
}

ALERT_DOORS = {
    "add-destination": Door(
        "adds a place that alerts go to", "desk", (A,), writes=True, sure=True, fields=lambda w: PLACE
    ),
    "destination": Door(
        *("changes a place that alerts go to", "desk", (A,)),
        writes=True,
        fields=lambda w: {"name": "Others", "privacy": "minimal"},
        needs="destination",
    ),
    "test-destination": Door(
        "tests a place that alerts go to", "desk", (A,), writes=True, fields=nothing, needs="destination"
    ),
    "switch-on-destination": Door(
        "lets alerts go there again", "desk", (A,), writes=True, fields=nothing, needs="destination"
    ),
    "switch-off-destination": Door(
        "lets no alerts go there", "desk", (A,), writes=True, fields=nothing, needs="signed_place"
    ),
    "rotate-destination": Door(
        "gives a signed webhook another secret", "desk", (A,), sure=True, fields=nothing, needs="signed_place"
    ),
    "add-route": Door(
        *("has a place that alerts go to told of more", "desk", (A,)),
        sure=True,
        fields=lambda w: {"events": ["email.held"], "do": "add"},
        needs="destination",
    ),
    "remove-route": Door(
        "has a place that alerts go to told of less", "desk", (A,), writes=True, fields=nothing, needs="destination"
    ),
    "alert-log": Door("shows what alerts were delivered, of the messages that one may see", "own"),
    "alert": Door("shows one delivery of an alert, of a message that one may see", "mailbox", needs="told_alert"),
    "send-alert-again": Door("sends an alert once more", "desk", (A,), fields=nothing, needs="alert"),
    "send-alerts-again": Door("sends alerts that were given up once more", "desk", (A,), fields=nothing, needs="alert"),
    "remove-destination": Door(
        "takes a place that alerts go to off", "desk", (A,), writes=True, fields=nothing, needs="destination"
    ),
}
