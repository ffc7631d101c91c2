"""What the live process passes on of who reads: arrivals, departures, and silence; never the same twice."""

from dashboard.at_it import LASTS, Readers


def hint(action="presence.here", person="3", message="m"):
    return {"kind": "beside", "action": action, "message": message, "person": person, "name": "Ana"}


def test_reader_is_news_once_however_often_the_page_says_so():
    readers = Readers()
    assert [readers.is_news(hint(), at=second) for second in (0.0, 20.0, 40.0)] == [True, False, False]
    assert readers.is_news(hint(person="4"), at=41.0)


def test_reader_who_leaves_is_news_once():
    readers = Readers()
    readers.is_news(hint(), at=0.0)
    assert readers.is_news(hint("presence.left"), at=1.0)
    assert not readers.is_news(hint("presence.left"), at=2.0)
    assert readers.is_news(hint(), at=3.0)


def test_reader_who_falls_silent_is_told_gone_within_45_seconds_and_once():
    readers = Readers()
    readers.is_news(hint(), at=0.0)
    readers.is_news(hint(), at=20.0)
    assert readers.gone(at=20.0 + LASTS - 1) == []
    (told,) = readers.gone(at=20.0 + LASTS)
    assert (told["action"], told["person"]) == ("presence.left", "3")
    assert LASTS + 2 < 45
    assert readers.gone(at=999.0) == []


def test_other_acts_are_always_news():
    assert all(Readers().is_news(hint("claim.taken"), at=0.0) for _ in range(2))
