"""When two spellings of a Discord channel mean the same one: one rule, wherever they are compared.

A # before the name, blanks around it and letters' case do not count, and a blank inside is the hyphen that Discord
makes of it.
"""

from django.db.models import CharField, Func

_ONE_SPELLING = r"lower(regexp_replace(regexp_replace({}, '^[#\s]+|\s+$', '', 'g'), '\s+', '-', 'g'))"


def one_spelling(sql: str) -> str:
    """Return SQL for the one spelling of the channel that this SQL names."""
    return _ONE_SPELLING.format(sql)


class OneSpelling(Func):
    """The one spelling of a channel, in queries and constraints."""

    template = _ONE_SPELLING.format("%(expressions)s")
    arity = 1
    output_field = CharField()
