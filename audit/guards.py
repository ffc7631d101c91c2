"""The ledger's append-only tables, which the database protects by rights and triggers."""

# Details are removed only by a database function, for an entry that names whose they
# were (audit.retention).
APPEND_ONLY = (
    "audit_entry",
    "audit_entrydetail",
    "audit_seal",
    "audit_sealedentry",
    "audit_anchor",
)
# Each has one trigger for rows and one for TRUNCATE.
TRIGGERS = 2
