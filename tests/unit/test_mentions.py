"""Whom a comment mentions: by name or address, the longest that fits, and what names
nobody.
"""

from approvals.collaboration import mentions_in
from people.models import Person
from simple_form.data import rows

ANA = Person(pk=1, name="Ana Ferreira", email="ana@yourteam.example")
ANNA = Person(pk=2, name="Ana Sousa", email="sousa@yourteam.example")
BEN = Person(pk=3, name="Ben Okafor", email="ben@yourteam.example")


# A text, and who is meant.
MEANT = list(
    rows("""
@Ana Ferreira and @Ana Sousa.  1 2
ask @sousa                     2
@ben @ben @Ben Okafor          3
@ben: look                     3
(@BEN)                         3
@ben@yourteam.example, please  3
mail ben@yourteam.example      -
x@ben                          -
@benjamin                      -
@ ben                          -
""")
)


def test_mention_is_the_longest_name_that_stands_there():
    for text, meant in MEANT:
        found, _ = mentions_in(text, [ANA, ANNA, BEN])
        assert " ".join(str(one.id) for one in found) == meant.strip("-"), text


def test_ambiguous_or_unknown_name_is_reported_and_mentions_nobody():
    remark = "“@ana” could be Ana Ferreira or Ana Sousa: write the whole name or the address."
    assert mentions_in("@Ana?", [ANA, ANNA]) == ([], [remark])
    assert mentions_in("@zoe @zoe hello", [ANA])[1] == [
        "“@zoe” names nobody who sees this message."
    ]
