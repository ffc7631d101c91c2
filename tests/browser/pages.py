"""The pages that tests and screenshots open, by name; tests/showcase.py fills in what is in braces."""

from tests.showcase import STATES

# One page of each kind. What is in braces is filled in.
PAGES = {
    "sign-in": "/accounts/login/",
    "home": "/",
    "find": "/find/",
    "queue": "/queue/",
    "message": "{crowded}",
    "high-risk": "{crowded}approve/",
    "edit": "{held}edit/",
    "thread": "{held}thread/",
    "history": "/history/",
    "audit": "/audit/",
    "trace": "/audit/trace/{id}/",
    "ledger-state": "/audit/verify/",
    "attention": "/attention/",
    "stop": "/stop/",
    "alerts": "/alerts/",
    "findings": "/rules/findings/",
    "rule": "/rules/findings/first_contact/",
    "own-words": "/rules/words/",
    "connections": "/connections/",
    "mailboxes": "/mailboxes/",
    "policy": "/policy/",
    "policy-groups": "/policy/groups/",
    "policy-playground": "/policy/playground/",
    "policy-versions": "/policy/versions/",
    "policies": "/policy/ready-made/",
    "ready-made-policy": "/policy/ready-made/regulated/",
    "review-plans": "/review-plans/",
    "review-plan": "/review-plans/all/",
    "allowlists": "/allowlists/",
    "allowlist": "/allowlists/all/restriction/",
    "allowlist-history": "/allowlists/all/restriction/history/",
    "allowlist-import": "/allowlists/all/restriction/import/",
    "refusals": "/allowlists/refusals/",
    "keys": "/people/me/keys/",
    "account": "/people/me/",
    "discord-accounts": "/people/me/discord/",
    "password": "/people/me/password/",
    "sessions": "/people/me/sessions/",
    "confirm": "/accounts/reauthenticate/",
    "factors": "/people/me/factors/",
    "factor-app": "/people/me/factors/app/",
    "factor-passkey": "/people/me/factors/passkey/",
    "not-found": "/nothing/here/",
}
# Pages of an admin, beside those.
ADMIN_PAGES = {
    "people": "/people/",
    "invite": "/people/invite/",
    "second-factor": "/people/second-factor/",
    "setup": "/setup/",
    "api-keys": "/keys/",
    "webhooks": "/webhooks/",
    "domains": "/domains/",
    "own-word-add": "/rules/words/add/",
    "usual-texts": "/mailboxes/{mailbox}/texts/reject/",
    "reports": "/audit/reports/",
    "report-rights": "/audit/reports/rights/",
}
# Error pages, by the status that the browser reports.
ERRORS = {"404": "/nothing/here/", "405": "{held}verdict/", "500": "{broken}"}
# The other pages: tabs, orders, and a message in each state.
MORE = {
    **{f"tab {tab}": f"/queue/?tab={tab}" for tab in ("mine", "leaving", "unknown", "failed", "done")},
    "search": "/queue/?q=nothing-has-this-word",
    "by risk": "/queue/?order=riskiest",
    "sent-back": "{sent back}",
    **{f"message {state}": f"{{{state}}}" for state in STATES},
    **{f"error {status}": path for status, path in ERRORS.items()},
}
# What opens on a page: where, what is typed as a key or pressed for it one after the other, and what is there then.
OPENED = {
    "palette": ("{held}", ("Control+k",), "#palette-list [role=option]"),
    "keys open": ("{held}", ("?",), "#keys[open]"),
    "rejecting": ("{held}", ("#reject > summary",), "#reject .reason"),
    "requesting changes": ("{held}", ("#send-back > summary",), "#send-back .reason"),
    "later": ("{held}", ("#later > summary",), "#later .reason"),
    "snoozing": ("{held}", ("#snooze-button",), "#snooze-button ~ *"),
    "high-risk rejecting": ("{crowded}approve/", ("#reject > summary",), "#reject .reason"),
    "high-risk later": ("{crowded}approve/", ("#later > summary",), "#later .row .btn"),
    "selection": ("/queue/", (".pick",), "#bulk"),
    "sheet of several": ("/queue/", ("#pick-all", "#bulk .go"), ".batch"),
}
