"""The ledger's own doors: searches, exports, proofs, reports."""

from tests.doors_of import A, Door, U, nothing

AUDIT_DOORS: dict[str, Door] = {
    "reports": Door("lists the reports", "own", (A, U)),
    "report-decisions": Door("shows who decided what in a month, of what one looks after", "own", (A, U)),
    "report-decision-rows": Door("shows the decisions behind a figure, of what one looks after", "own", (A, U)),
    "report-decisions-file": Door("hands out who decided what, as a file", "own", (A, U), writes=True, fields=nothing),
    "report-rights": Door("shows who could decide where at a moment, of what one looks after", "own", (A, U)),
    "report-rights-file": Door(
        "hands out who could decide where, as a file", "own", (A, U), writes=True, fields=nothing
    ),
}
