"""Where texts of one template differ: nothing else differs, and what most say is told
from the rest.
"""

import random

from approvals.bulk.groups import places_of
from approvals.message_page.content.word_diff import Effort

REFUND = "Hello {},\n\nyour refund of {} EUR for order {} is on its way."


def test_values_that_most_share_make_the_others_odd_and_values_of_each_are_nobodys():
    filled_in = (
        ("Dana", "50.00", 4471),
        ("Kim Brown", "500.00", 4472),
        ("Bo", "50.00", 9),
    )
    texts = [REFUND.format(*one) for one in filled_in]
    name, amount, order = places_of(texts, Effort())
    assert name.values == ("Dana", "Kim Brown", "Bo")
    assert amount.values == ("50.00", "500.00", "50.00")
    assert order.values == ("4471", "4472", "9")
    assert [[place.is_odd(at) for at in range(3)] for place in (name, amount, order)] == [
        [False] * 3, [False, True, False], [False] * 3,
    ]  # fmt: skip
    assert amount.most == "50.00"
    assert texts[1][amount.starts[1] :][:6] == "500.00"


def test_texts_are_the_same_outside_of_their_places_whatever_they_hold():
    for seed in range(300):
        chance = random.Random(seed)
        base = [chance.choice("abcdefg \n.") for _ in range(40)]
        texts = []
        for _ in range(4):
            words = base[:]
            for at in chance.choices(range(40), k=chance.randrange(6)):
                words[at : at + chance.randrange(3)] = [
                    chance.choice(("xx", "y ", " q", "", "\n"))
                ]
            texts.append("".join(words))
        places = places_of(texts, Effort())
        assert len({outside(text, at, places) for at, text in enumerate(texts)}) == 1, (
            seed
        )


def outside(text, at, places):
    """What stands before, between and after the places of a text."""
    parts = []
    end = 0
    for place in places:
        start = place.starts[at]
        assert end <= start
        assert text.startswith(place.values[at], start)
        parts.append(text[end:start])
        end = start + len(place.values[at])
    return (*parts, text[end:])


def test_texts_that_cost_too_much_to_compare_are_not_compared():
    words = [[f"{word}{number} " for number in range(2000)] for word in "abc"]
    assert places_of(["".join(one) for one in words], Effort()) is None
