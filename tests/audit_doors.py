"""The ledger's own doors: searches, exports, proofs, reports."""

from tests.doors_of import A, Door, U, nothing

AUDIT_DOORS: dict[str, Door] = {
    "seen-decision": Door("shows a past verdict as it was given", "mailbox", needs="verdict"),
    "trace-proof-json": Door("hands out the proof of a message", "mailbox", writes=True, fields=nothing, needs="seal"),
    "trace-proof-text": Door(
        "hands out the proof of a message, for an e-mail", "mailbox", writes=True, fields=nothing, needs="seal"
    ),
    "trace-proof-html": Door(
        "hands out a message's trace as a page that checks itself",
        "mailbox",
        writes=True,
        fields=nothing,
        needs="seal",
    ),
    "seen-body": Door("shows the letter of a past verdict, laid out", "mailbox", needs="verdict"),
    "save-search": Door(
        "saves a search of the ledger for oneself", "own", writes=True, fields=lambda w: {"name": "Mine"}
    ),
    "delete-search": Door("deletes a search of one's own", "own", fields=nothing, needs="search"),
    "reports": Door("lists the reports", "own", (A, U)),
    "report-decisions": Door("shows who decided what in a month, of what one looks after", "own", (A, U)),
    "report-decision-rows": Door("shows the decisions behind a figure, of what one looks after", "own", (A, U)),
    "report-decisions-file": Door("hands out who decided what, as a file", "own", (A, U), writes=True, fields=nothing),
    "report-rights": Door("shows who could decide where at a moment, of what one looks after", "own", (A, U)),
    "report-rights-file": Door(
        "hands out who could decide where, as a file", "own", (A, U), writes=True, fields=nothing
    ),
    "ledger-state": Door("shows how the ledger is sealed and what checks of it found", "own"),
    "check-ledger": Door("has the whole ledger checked", "desk", (A, U), fields=nothing),
    "compare-ledger": Door(
        "compares the ledger with a head that somebody kept", "own", fields=lambda w: {"head": "none"}
    ),
    "newest-head": Door("hands out the ledger's newest head", "own"),
    "verifier": Door("hands out the verifier", "own"),
    "export": Door(
        *("takes history out, of what one sees", "own", (A, U)),
        writes=True,
        sure=True,
        fields=lambda w: {"format": "csv", "details": "on"},
    ),
    "exports": Door("lists what one took out; an auditor of everything sees it of all", "own", (A, U)),
    "export-one": Door("shows how far an export of one's own is", "own", (A, U), needs="export"),
    "export-file": Door("hands an export of one's own out, and asks first", "own", (A, U), writes=True, needs="export"),
    "export-again": Door(
        *("lets an export of one's own begin again", "own", (A, U)),
        writes=True,
        sure=True,
        fields=nothing,
        needs="broken_export",
    ),
}
