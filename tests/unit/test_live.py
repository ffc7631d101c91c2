"""The live process: who is handed a hint, and what does not end it."""

import asyncio
import errno
import json

import pytest
import redis.asyncio

from dashboard.live import stream as live
from launcher.postgres import Redis
from tests.loops import in_own_loop

EVERYTHING = [(None, None)]


def hand_out(reach, *texts):
    """Return what a page with this reach is given."""
    page = live.Page(reach)
    live._pages.add(page)
    try:
        for text in texts:
            live._hand_out(text)
    finally:
        live._pages.discard(page)
    return [page.hints.get_nowait() for _ in range(page.hints.qsize())]


def hint(mailbox=11):
    return json.dumps({"connection": 1, "mailbox": mailbox})


def test_hint_reaches_only_who_may_see_the_message():
    may = [EVERYTHING, [(1, None)], [(None, 11)], [(1, 11)], [(2, None), (1, 11)]]
    may_not = [[(2, None)], [(1, 12)], [(None, 12)], []]
    assert [reach for reach in (*may, *may_not) if hand_out(reach, hint())] == may
    # A message without a mailbox is not for those of one mailbox.
    assert [
        reach
        for reach in ([(1, 11)], [(1, None)])
        if hand_out(reach, hint(mailbox=None))
    ] == [[(1, None)]]


def doubt(person):
    """Return whether the page of somebody else and Ana's page are to be looked up anew."""
    theirs = live.Page([], "8")
    hers = live.Page(EVERYTHING, "7")
    live._pages.update({theirs, hers})
    try:
        live._hand_out(json.dumps({"kind": "reach", "person": person}))
    finally:
        live._pages.difference_update({theirs, hers})
    return theirs.needs_recheck, hers.needs_recheck, hers.hints.qsize()


def test_person_whose_sessions_ended_is_woken_and_looked_up_again():
    assert doubt("7") == (False, True, 1)
    assert doubt("9") == (False, False, 0)


def feed(monkeypatch, page, answers):
    """Return what a page is sent until it ends, when the desk gives these answers about
    its reader.
    """
    sent = []

    def ask(_):
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    async def read():
        async for event in live._feed(page, {}):
            sent.append(event)
            if len(sent) > 5:
                raise AssertionError(sent)

    monkeypatch.setattr(live, "_ask_reader", ask)
    in_own_loop(read())
    return "".join(sent[1:])


def test_stream_of_an_ended_session_ends_before_it_tells_anything_more(monkeypatch):
    # Signed out, and no answer from the desk.
    for answer in (None, OSError("away")):
        page = live.Page(EVERYTHING, "7")
        page.needs_recheck = True
        page.offer({"connection": 1, "mailbox": 11}, "not for them any more")
        assert feed(monkeypatch, page, [answer]) == "", answer


def test_stream_of_a_session_that_stays_goes_on_with_what_it_may_reach_now(monkeypatch):
    page = live.Page(EVERYTHING, "7")
    page.needs_recheck = True
    page.offer({"connection": 1, "mailbox": 11}, "for them")
    page.hints.put_nowait("last")
    take = page.hints.get

    async def get():
        text = await take()
        # The second look at the reader ends the test.
        page.needs_recheck = page.needs_recheck or text == "last"
        return text

    monkeypatch.setattr(page.hints, "get", get)
    assert (
        feed(monkeypatch, page, [("7", [(1, 11)]), None])
        == "event: hint\ndata: for them\n\n"
    )
    assert page.reach == [(1, 11)]


def asked(headers):
    return {
        "type": "http",
        "method": "GET",
        "path": "/live/",
        "query_string": b"",
        "headers": headers,
    }


def test_whoever_sends_no_cookie_costs_the_desk_no_question(monkeypatch):
    sent = []

    async def send(message):
        sent.append(message)

    monkeypatch.setattr(
        live, "_ask_reader", lambda _: pytest.fail("the desk was asked")
    )
    in_own_loop(live.application(asked([]), None, send))
    assert sent[0]["status"] == 401


def test_hints_come_again_after_the_connection_to_redis_timed_out(
    monkeypatch, tmp_path
):
    server = Redis(tmp_path, durable=False)
    readers = []
    connect = asyncio.open_unix_connection

    async def recorded(*arguments, **options):
        reader, writer = await connect(*arguments, **options)
        readers.append(reader)
        return reader, writer

    async def scenario():
        page = live.Page(EVERYTHING)
        live._pages.add(page)
        client = redis.asyncio.Redis.from_url(server.url())
        await client.ping()
        task = asyncio.create_task(live._read_hints())
        try:
            for break_off in (True, False):
                while page.hints.empty():
                    await client.publish(live.CHANNEL, hint())
                    await asyncio.sleep(0)
                page.hints = asyncio.Queue()
                if break_off:
                    # As the kernel reports a host that was cut off.
                    gone = TimeoutError(errno.ETIMEDOUT, "timed out")
                    readers[1].set_exception(gone)
        finally:
            task.cancel()
            live._pages.discard(page)
            await client.aclose()
        return len(readers)

    server.start()
    try:
        monkeypatch.setattr(live, "REDIS_URL", server.url())
        monkeypatch.setattr(asyncio, "open_unix_connection", recorded)
        # That of this test, and the two of the live process.
        assert in_own_loop(scenario(), timeout=60) == 3
    finally:
        server.stop()
