"""The names of the tables that the application may only add to (append-only), or only
read, for the command that sets these rights and the check of them.
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
# The history of roles, which triggers write with the owner's privileges.
READ_ONLY = ("people_grantperiod",)
