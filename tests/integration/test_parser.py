"""The parser: what the process of a request may do, how it ends, and what becomes of
bytes that it was killed over.
"""

import os
import signal
import socket
import tempfile
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from django.db.models.functions import Now

from approvals.bulk.sheet import gather
from approvals.held_rows import mirror_row
from approvals.models import Review
from approvals.operations.attention import attention_for
from common.postgres import clock
from launcher.postgres import JOBS, Parser
from mirror import store
from mirror.models import AttachedFile, Message
from parsing import client, program
from parsing.client import ParserBusy, ParserKilled, ParserUnavailable, parse
from parsing.jobs import unpack
from tests.factories import actor_of, make_message, pending_row
from tests.integration.test_enclosed import enclose, fetch_all, gateway, panel  # noqa: F401 -- fixtures
from tests.stack import wait_for


@pytest.fixture
def start(monkeypatch):
    """Start a parser with the jobs of tests.parser_jobs, and let this process ask it."""
    started = []

    def begin(*jobs):
        folder = Path(tempfile.mkdtemp(prefix="countersign-"))
        parser = Parser(folder, jobs=(*jobs, "tests.parser_jobs"))
        parser.start()
        started.append(parser)
        monkeypatch.setenv("PARSER_SOCKET", str(parser.socket))
        return parser

    yield begin
    for parser in started:
        parser.stop()


def test_request_ends_at_its_limits_others_go_on_and_it_is_not_run_again(start):
    start()
    for job, why in (("spin", "time"), ("hoard", "memory"), ("fail", "EOFError")):
        with pytest.raises(ParserKilled, match=why):
            parse(job, b"hostile")
        # Known by its digest: nothing is run.
        with pytest.raises(ParserKilled, match="killed before"):
            parse(job, b"hostile")
        assert parse("echo", b"hostile") == b"hostile"
    # What only takes longer than a quick request may is run once more, with its time.
    with client.from_source("x", is_hurried=True), pytest.raises(ParserBusy):
        parse("work", b"long")
    assert parse("work", b"long") == b"long"


def obey(source, content, **options):
    with client.from_source(source, stays=True):
        return parse("obey", content, **options)


def test_process_that_stays_reads_no_bytes_of_another_source(start):
    parser = start()
    first = obey("one", b"")
    assert obey("one", b"") == first != obey("two", b"")
    assert obey("one", b"") == first
    # Nor do requests that do not ask for it get one.
    assert first != parse("obey", b"") != parse("obey", b"")
    # Large ones do not keep it, so nobody waits until it has been idle.
    large = b" " * 100_000
    assert obey("one", large, patience=program.IDLE_SECONDS / 2) != first
    # It ends when another's bytes come over its connection.
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(parser.socket))
        reader = connection.makefile("rb")
        connection.sendall(b"obey 1 quick stays one\nx")
        size = reader.readline().removeprefix(b"answer ")
        assert reader.read(int(size))
        connection.sendall(b"obey 1 quick stays two\nx")
        assert reader.readline() == b""


@pytest.mark.slow
def test_others_are_answered_while_a_source_sends_what_kills(start, monkeypatch):
    start()

    def parse_hostile(number):
        with client.from_source("hostile"):
            return parse("spin", b"%d" % number)

    with ThreadPoolExecutor(6) as pool:
        hostile = [pool.submit(parse_hostile, number) for number in range(6)]
        wait_for(lambda: any(one.done() for one in hostile), 60, "one ended")
        assert parse("echo", b"mail") == b"mail"
        monkeypatch.setenv("PARSER_LANE", "pages")
        assert parse("echo", b"page") == b"page"
        assert not all(one.done() for one in hostile)
        # One runs at a time; the clients of others are told to come back.
        ends = {type(one.exception()) for one in hostile}
    assert ends == {ParserKilled, ParserBusy}


def test_hostile_source_comes_after_others_and_what_takes_long_after_all():
    parser = program.Parser(None, None, 0, {})
    parser._used["hostile"] = (program.KILLED, time.monotonic())
    words = ("slow hostile", "slow new", "quick hostile", "quick new")
    requests = []
    for word in words:
        speed, source = word.split()
        is_slow = speed == "slow"
        requests.append(program.Request(None, False, word, 0, is_slow, "-", [source]))
    in_order = [one.name for one in sorted(requests, key=parser._order)]
    assert in_order == [*reversed(words)]


def test_second_name_of_a_source_counts_within_the_first_only():
    told = {}
    for names in (("address", "dana"), ("address", "lee"), ("another", "dana")):
        with client.from_source(*names):
            _, first, second = client._source.get().split()
            told[names] = (first, second)
    assert len({first for first, _ in told.values()}) == 2
    # Nobody spends what another address has for the same sender.
    assert len({second for _, second in told.values()}) == 3


def test_process_of_a_request_has_no_network_files_account_or_secrets(
    start, monkeypatch
):
    monkeypatch.setenv("SECRET_KEY", "of the desk")
    parser = start()
    found, _ = unpack(parse("tries", b""))
    assert found == {"done": [], "environment": ["LC_ALL", "PATH", "TZ"]}
    # The program itself has left its network and its account before the first request.
    about = Path(f"/proc/{parser.process.pid}")
    interfaces = (about / "net/dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]
    status = (about / "status").read_text()
    assert "NoNewPrivs:\t1" in status
    if os.geteuid() == 0:
        assert "Uid:\t65533\t65533\t65533\t65533" in status


def test_parser_that_dies_is_no_fault_of_the_bytes(start, monkeypatch):
    monkeypatch.setattr(client, "_RESTART_SECONDS", 0.0)
    parser = start()
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(parse, "spin", b"slow")
        # It is being run once the program has a child.
        children = Path(
            f"/proc/{parser.process.pid}/task/{parser.process.pid}/children"
        )
        wait_for(children.read_text, 20, "a process of the request")
        os.kill(parser.process.pid, signal.SIGKILL)
        assert isinstance(under_way.exception(), ParserUnavailable)
    with pytest.raises(ParserUnavailable):
        parse("echo", b"")


@pytest.fixture
def hostile(start):
    """Let the parser be killed over every message and file."""
    return start(*JOBS)


@pytest.mark.slow
def test_message_that_cannot_be_read_safely_is_put_aside(
    connection, desk, reviewer, hostile, monkeypatch
):
    row = pending_row("01HOSTILE", html_body="<p>Pay <b>now</b></p>", markdown=None)
    # At first it is put off, because it takes long.
    for _ in range(2):
        assert mirror_row(connection, row, clock())
    message = Message.objects.get(upstream_id="01HOSTILE")
    assert message.state == "held"
    assert message.review.risk_level == "high"
    assert message.fetch_tries == 0
    assert "unsafe_content" in message.review.rules
    # Every rule of the policy applies to what is not known.
    assert (message.written_to, message.review.policy_facts) == (None, None)
    # Never again by itself, also when the row has news.
    monkeypatch.setattr("rendering.parsed.parse", None)
    assert mirror_row(connection, {**row, "metadata": {"run_id": "7"}}, clock())

    page = desk.get(f"/queue/{message.public_id}/").text
    assert "The message could not be read safely." in page
    frame = desk.get(f"/queue/{message.public_id}/body/").text
    assert "&lt;p&gt;Pay &lt;b&gt;now&lt;/b&gt;&lt;/p&gt;" in frame
    sheet = gather([message.public_id], actor=actor_of(reviewer), now=clock())
    assert (len(sheet.ready), len(sheet.alone)) == (0, 1)


def test_message_waits_for_a_parser_that_is_away_without_being_given_up(
    connection, working, desk, admin, monkeypatch
):
    message = make_message(connection, hydrated=False)
    row = pending_row(message.upstream_id)
    with monkeypatch.context() as away:
        away.setattr(client, "_RESTART_SECONDS", 0.0)
        away.setenv("PARSER_SOCKET", "/nonexistent")
        for _ in range(5):
            assert mirror_row(connection, row, clock())
    message.refresh_from_db()
    assert message.fetch_tries == 0
    assert message.hydrated_at is None
    # It comes back later, and by then not together with others.
    assert message.read_after > clock()
    assert not Message.objects.to_hydrate().exists()
    # What needs a person says so, and blames no account.
    Message.objects.update(held_at=Now() - timedelta(minutes=5))
    found = attention_for(actor_of(admin), clock())
    [item] = [one for one in found if one.message]
    assert item.several == f"messages of {message.mailbox} are not read yet"
    assert mirror_row(connection, row, clock())
    # Nor is a page of the desk an error, whatever other tests have rendered.
    monkeypatch.setattr("approvals.message_page.sheet._cache", OrderedDict())
    monkeypatch.setattr(client, "_RESTART_SECONDS", 0.0)
    monkeypatch.setenv("PARSER_SOCKET", "/nonexistent")
    desk.raise_request_exception = False
    answer = desk.get(f"/queue/{message.public_id}/")
    assert answer.status_code == 503
    assert answer["Retry-After"] == "10"


@pytest.mark.slow
def test_file_that_cannot_be_read_safely_makes_its_message_high_risk(
    enclose,  # noqa: F811
    desk,
    hostile,
    monkeypatch,
):
    monkeypatch.setattr(store, "examine_content", store.unexamined)
    message = enclose(("a.xml", b"<!---->" * 60, "text/xml"), fetched=False)
    Review.objects.update(risk_level="")
    fetch_all(message)
    message.refresh_from_db()
    assert AttachedFile.objects.get().state == "fetched"
    assert message.review.risk_level == "high"
    said = "The attached file “a.xml” could not be read safely."
    assert said in str(message.revision.findings)
    assert "It could not be read safely" in panel(desk, message)
