"""Which tables of the ledger only grow, and whether the database itself sees to that: by rights and by triggers."""

from dataclasses import dataclass

from common.postgres.rows import run

# Details go by a function of the database alone, which writes who removed whose (audit.retention).
APPEND_ONLY = ("audit_entry", "audit_entrydetail", "audit_seal", "audit_leaf", "audit_block", "audit_anchor")

# Whoever owns a table, or may become its owner, can switch its triggers off and on again unseen.
_EXAMINE = """
SELECT name, has_table_privilege(name, 'UPDATE, DELETE, TRUNCATE') OR pg_has_role(relowner, 'MEMBER'),
       (SELECT count(*) FROM pg_trigger WHERE tgrelid = pg_class.oid AND NOT tgisinternal AND tgenabled IN ('O', 'A'))
FROM unnest(%s::text[]) AS guarded (name) JOIN pg_class ON pg_class.oid = to_regclass(name)
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
    found = run(_EXAMINE, [list(APPEND_ONLY)]).rows
    return Guards(
        changeable=tuple(name for name, may_change, _ in found if may_change),
        without_triggers=tuple(name for name, _, triggers in found if triggers < _TRIGGERS),
    )
