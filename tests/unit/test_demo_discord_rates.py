"""The stand-in's rate limit: five requests in two seconds for each webhook."""

from demo.discord.rates import RateLimiter


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_sixth_request_in_a_window_is_refused_and_told_how_long() -> None:
    rates = RateLimiter(Clock())
    assert [rates.take("1").remaining for _ in range(5)] == [4, 3, 2, 1, 0]
    refused = rates.take("1")
    assert not refused.granted
    assert refused.reset_after == 2.0


def test_waiting_exactly_as_told_is_enough() -> None:
    clock = Clock()
    rates = RateLimiter(clock)
    for _ in range(5):
        rates.take("1")
    clock.now += 1.2345
    clock.now += rates.take("1").reset_after
    assert rates.take("1").granted


def test_webhooks_do_not_share_a_window() -> None:
    rates = RateLimiter(Clock())
    for _ in range(6):
        rates.take("1")
    assert rates.take("2").granted
    assert rates.take("1").bucket != rates.take("2").bucket


def test_thirty_first_request_of_a_minute_is_refused_though_the_headers_tell_of_room() -> None:
    clock = Clock()
    rates = RateLimiter(clock)
    for _ in range(6):
        assert all(rates.take("1").granted for _ in range(5))
        clock.now += 2.0
    refused = rates.take("1")
    assert not refused.granted
    assert refused.remaining == 5
    assert refused.retry_after == 48.0
    assert rates.take("2").granted
    # The first five are a minute ago then, and the others are not.
    clock.now += refused.retry_after
    assert [rates.take("1").granted for _ in range(6)] == [True] * 5 + [False]
