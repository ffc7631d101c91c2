"""Where texts of one template differ: nothing else differs, and what most say is told
from the rest.
"""

import random

from approvals.bulk.groups import places_of
from approvals.message_page.content.word_diff import Effort


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
