"""What the live process passes on of who reads: arrivals, departures, and silence; never the same twice."""

from dashboard.live.stream import LASTS, Readers


def hint(action="presence.here", person="3", message="m"):
    return {"kind": "beside", "action": action, "message": message, "person": person, "name": "Ana"}


def test_reader_is_news_once_when_they_come_and_when_they_leave():
    readers = Readers()
    assert [readers.is_news(hint(), at=second) for second in (0.0, 20.0, 40.0)] == [True, False, False]
    assert readers.is_news(hint(person="4"), at=41.0)
    assert [readers.is_news(hint("presence.left"), at=second) for second in (42.0, 43.0)] == [True, False]
    assert readers.is_news(hint(), at=44.0)
    # Other acts are always news.
    assert [readers.is_news(hint("claim.taken"), at=45.0) for _ in range(2)] == [True, True]


def test_silent_reader_is_reported_gone_within_45_seconds_and_once():
    readers = Readers()
    readers.is_news(hint(), at=0.0)
    readers.is_news(hint(), at=20.0)
    assert readers.gone(at=20.0 + LASTS - 1) == []
    (event,) = readers.gone(at=20.0 + LASTS)
    assert (event["action"], event["person"]) == ("presence.left", "3")
    assert LASTS + 2 < 45
    assert readers.gone(at=999.0) == []


def test_who_read_a_decided_message_is_forgotten_and_news_again_once_it_is_held_again():
    readers = Readers()
    readers.is_news(hint(), at=0.0)
    readers.is_news(hint(message="other"), at=0.0)
    readers.end("m")
    assert readers.is_news(hint(), at=1.0)
    assert not readers.is_news(hint(message="other"), at=1.0)
