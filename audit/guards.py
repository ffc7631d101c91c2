"""The names of the ledger's append-only tables, for the command that sets their rights
and the check of these.
"""

# Rows of audit_entrydetail can be removed, but only by a database function, which needs
# an entry that lists the removed ones (audit.retention).
APPEND_ONLY = (
    "audit_entry",
    "audit_entrydetail",
    "audit_seal",
    "audit_sealedentry",
    "audit_anchor",
)
