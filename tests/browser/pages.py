"""The addresses that browser tests and screenshots open, by name. Whoever opens them
fills in the braces, for example with the address of a held message.
"""

# One page of each kind.
PAGES = {
    "sign-in": "/accounts/login/",
    "home": "/",
    "find": "/find/",
    "patterns": "/patterns/",
    "queue": "/queue/",
    "message": "{crowded}",
    "high-risk": "{crowded}approve/",
    "edit": "{held}edit/",
    "thread": "{held}thread/",
    "notices": "/notices/",
    "history": "/history/",
    "audit": "/audit/",
    "trace": "/audit/trace/{id}/",
    "ledger-state": "/audit/verify/",
    "attention": "/attention/",
    "stop": "/stop/",
    "alerts": "/alerts/",
    "findings": "/rules/findings/",
    "connections": "/connections/",
    "mailboxes": "/mailboxes/",
    "policy": "/policy/",
    "policy-try": "/policy/try/",
    "groups-and-hours": "/policy/groups/",
    "review-plans": "/review-plans/",
    "review-plan": "/review-plans/0/",
    "set-apart": "/queue/apart/",
    "caps": "/caps/",
    "allowlists": "/allowlists/",
    "account": "/people/me/",
    "chat-accounts": "/people/me/chat/",
    "password": "/people/me/password/",
    "sessions": "/people/me/sessions/",
    "confirm": "/accounts/reauthenticate/",
    "factors": "/people/me/factors/",
    "factor-app": "/people/me/factors/app/",
    "factor-passkey": "/people/me/factors/passkey/",
    "not-found": "/nothing/here/",
}
# Pages that only an admin can open.
ADMIN_PAGES = {
    "allowlist": "/allowlists/{list}/",
    "people": "/people/",
    "invite": "/people/invite/",
    "second-factor": "/people/second-factor/",
    "changes": "/changes/",
    "policy-group-add": "/policy/groups/add/",
    "calendar-add": "/policy/hours/add/",
    "setup": "/setup/",
    "api-keys": "/keys/",
    "webhooks": "/webhooks/",
    "domains": "/domains/",
    "review-report": "/audit/reports/review/",
    "usual-texts": "/mailboxes/{mailbox}/texts/reject/",
    "reports": "/audit/reports/",
    "report-rights": "/audit/reports/rights/",
}
# Parts that open on a page: its address, the keys to type and elements to click one
# after the other, and the element that is there then.
OPENED = {
    "keys open": ("{held}", ("?",), "#keys[open]"),
    "rejecting": ("{held}", ("#reject > summary",), "#reject .reason"),
    "requesting changes": ("{held}", ("#send-back > summary",), "#send-back .reason"),
    "later": ("{held}", ("#later > summary",), "#later .reason"),
    "snoozing": ("{held}", ("#snooze-button",), "#snooze-button ~ *"),
    "high-risk rejecting": (
        "{crowded}approve/",
        ("#reject > summary",),
        "#reject .reason",
    ),
    "high-risk later": ("{crowded}approve/", ("#later > summary",), "#later .row .btn"),
    "selection": ("/queue/", (".pick",), "#bulk"),
    "sheet of several": ("/queue/", ("#pick-all", "#bulk .go"), ".batch"),
}
