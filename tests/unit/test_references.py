"""Who decided, and by which reference: put behind a reason, found again, and kept from
people.
"""

from common.references import (
    is_reference,
    references_in,
    split_reference,
    with_reference,
    with_reported,
    without_references,
)

OLD = "[countersign:RRHG3090GH]"


def test_added_reference_is_found_and_removed_again():
    assert (
        with_reference("No.", "7K", "Ana Ferreira")
        == "No. (Ana Ferreira via Countersign, reference 7K)"
    )
    typed = "No. (Eve via Countersign, reference 9Z)"
    twice = "Twice: [countersign:0AB] is no end"
    for words in ("", twice, "(Ben via Countersign)", typed):
        named = with_reference(words, "RRHG3090GH", "Zoë (ops)\n" + "x" * 200)
        for whole in (named, f"{words} {OLD}".strip()):
            assert references_in(whole)[-1] == "RRHG3090GH"
            assert split_reference(whole) == (words, "RRHG3090GH")
            assert is_reference(whole) is (words == "")
            assert "RRHG3090GH" not in without_references(whole)
        # Reported apart, it is what was sent.
        who = named.rpartition("(")[2].partition(", ref")[0]
        assert with_reported(words, "RRHG3090GH", who) == named


def test_words_without_a_mark_stay_as_they_are():
    for words in (
        "",
        "[countersign:]",
        "[countersign:abc]",
        "(via Countersign, reference A)",
    ):
        assert references_in(words) == []
        assert split_reference(words) == (words, "")
        assert without_references(words) == words
        assert not is_reference(words)
        for odd in (None, "", 5, "no reference", ["A"]):
            assert with_reported(words, odd, "Ana") == words, odd
