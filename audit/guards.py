"""The names of the ledger's append-only tables, for the command that sets their rights,
and the check that their triggers exist.
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
# How many triggers each table has: one for rows, one for TRUNCATE.
TRIGGERS = 2
