"""The mark of a decision in a reason: put there, found again, and kept from people."""

from common.references import is_reference, references_in, split_reference, with_reference, without_references


def test_what_is_added_is_found_and_taken_off_again():
    for words in ("", "Wrong amount.", "Twice: [countersign:0AB] is no end"):
        whole = with_reference(words, "RRHG3090GH")
        assert references_in(whole)[-1] == "RRHG3090GH"
        assert split_reference(whole) == (words, "[countersign:RRHG3090GH]")
        assert is_reference(whole) is (words == "")
        assert "countersign:" not in without_references(whole)


def test_words_without_a_mark_stay_as_they_are():
    for words in ("", "Mine.", "[countersign:]", "[countersign:abc]", "[countersign:A"):
        assert (references_in(words), split_reference(words), without_references(words)) == ([], (words, ""), words)
        assert not is_reference(words)
