"""The ledger's append-only tables, and whether the database enforces that by rights and triggers."""

from dataclasses import dataclass

from common.postgres.rows import run

# Details are removed only by a database function, which records who removed whose (audit.retention).
APPEND_ONLY = ("audit_entry", "audit_entrydetail", "audit_seal", "audit_sealedentry", "audit_anchor")

# A table's owner, or a role that can become its owner, can switch its triggers off and on again unnoticed.
_EXAMINE = """
SELECT name, has_table_privilege(name, 'UPDATE, DELETE, TRUNCATE') OR pg_has_role(relowner, 'MEMBER'),
       (SELECT count(*) FROM pg_trigger WHERE tgrelid = pg_class.oid AND NOT tgisinternal AND tgenabled IN ('O', 'A'))
FROM unnest(%s::text[]) AS guarded (name) JOIN pg_class ON pg_class.oid = to_regclass(name)
"""
# One for rows, one for TRUNCATE.
_TRIGGERS = 2


@dataclass(frozen=True)
class Guards:
    """The tables of the ledger that are not protected as they should be."""

    changeable: tuple[str, ...]
    without_triggers: tuple[str, ...]


def examine_guards() -> Guards:
    """Ask the database for the rights of the connected role. Tables that do not exist yet are left out."""
    found = run(_EXAMINE, [list(APPEND_ONLY)]).rows
    return Guards(
        changeable=tuple(name for name, may_change, _ in found if may_change),
        without_triggers=tuple(name for name, _, triggers in found if triggers < _TRIGGERS),
    )
