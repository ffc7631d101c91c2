"""Which tables of the ledger only grow, and whether the database itself sees to that: by rights and by triggers."""

from dataclasses import dataclass

from django.db import connection

APPEND_ONLY = ("audit_entry", "audit_seal", "audit_leaf", "audit_block", "audit_anchor")
# Retention may remove the personal part of an entry; the entry stays.
REMOVABLE_ONLY = ("audit_entrydetail",)

# Whoever owns a table, or may become its owner, can switch its triggers off and on again unseen.
_EXAMINE = """
SELECT name, has_table_privilege(name, privileges) OR pg_has_role(relowner, 'MEMBER'),
       (SELECT count(*) FROM pg_trigger WHERE tgrelid = pg_class.oid AND NOT tgisinternal AND tgenabled IN ('O', 'A'))
FROM unnest(%s::text[], %s::text[]) AS guarded (name, privileges) JOIN pg_class ON pg_class.oid = to_regclass(name)
"""
# One for rows, one for TRUNCATE.
_TRIGGERS = 2


@dataclass(frozen=True)
class Guards:
    """What of the ledger is not guarded as it should be, by the names of tables."""

    changeable: tuple[str, ...]
    without_triggers: tuple[str, ...]


def examine_guards() -> Guards:
    """Ask the database what the role that is connected may do. A table that is not there yet is left out."""
    tables = (*APPEND_ONLY, *REMOVABLE_ONLY)
    privileges = ["UPDATE, DELETE, TRUNCATE" if table in APPEND_ONLY else "UPDATE, TRUNCATE" for table in tables]
    with connection.cursor() as cursor:
        cursor.execute(_EXAMINE, [list(tables), privileges])
        found = cursor.fetchall()
    return Guards(
        changeable=tuple(name for name, may_change, _ in found if may_change),
        without_triggers=tuple(name for name, _, triggers in found if triggers < _TRIGGERS),
    )
