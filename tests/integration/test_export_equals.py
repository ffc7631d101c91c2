"""The file of an export holds what the pages of the ledger show for the same filter, to the row."""

import json
import threading
from urllib.parse import urlencode

import pytest
from django.db import transaction
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from audit.exporting import handing_out
from audit.models import Entry, Export
from audit.recording import record
from people.actors import Actor
from people.models import Person
from tests.factories import make_connection, make_message, make_person
from tests.integration.deciding import in_thread

WORDS = ("refund", "Dana", "invoice", "Łódź", "=1", "dana@northwind.example")
ACTIONS = ("message.opened", "message.served", "verdict.given", "person.signed_in", "rule.weighed")
SURFACES = ("web", "discord", "worker")

acts = st.tuples(
    st.sampled_from(ACTIONS),
    st.sampled_from(SURFACES),
    st.sampled_from(("1", "2")),
    st.sampled_from((*WORDS, "")),
    st.sampled_from((None, 0, 1)),
)
filters = st.fixed_dictionaries(
    {},
    optional={
        "q": st.sampled_from((*WORDS, "refund Dana", "by:ben", "nothing-of-this")),
        "action": st.sampled_from((*ACTIONS, "message", "reading", "decisions", "nonsense")),
        "surface": st.sampled_from(SURFACES),
        "actor": st.sampled_from(("person/1", "person/2", "worker/x")),
        "to": st.sampled_from(("dana", "northwind.example")),
        "since": st.sampled_from(("today", "yesterday", "2020", "2099-01-01")),
        "until": st.sampled_from(("today", "2020-01-01")),
        "message": st.sampled_from((0, 1)),
        "before": st.integers(1, 50),
    },
)
pytestmark = pytest.mark.django_db


def shown(client, query):
    """Walk through all pages of the ledger for programs, from the newest; a page that was asked for is left out."""
    rows, address = [], f"/audit/?{urlencode(query)}&format=json"
    while address:
        page = client.get(address).json()
        rows += page["entries"]
        address = page["next"]
    return rows


def taken(client, query, **fields):
    answer = client.post(f"/audit/export/?{urlencode(query)}", {"format": "jsonl", "details": "on", **fields})
    export = Export.objects.get(pk=answer["Location"].split("/")[3])
    whole = client.get(f"/audit/export/{export.pk}/file").getvalue().decode()
    return [json.loads(line) for line in whole.splitlines()]


def test_file_is_what_the_pages_show_on_random_filters(signed_in, auditor, monkeypatch):
    # Many pages and many batches of little.
    monkeypatch.setattr("audit.searching.reading.PAGE", 7)
    monkeypatch.setattr(handing_out, "AT_ONCE", 5)
    connections = [make_connection("one"), make_connection("two")]
    messages = [make_message(one, subject=f"About a refund, {one}") for one in connections]
    of_one = make_person("paula@yourteam.example", "Paula", "auditor", connection=connections[0])
    names, counts = {"1": "Ana Ferreira", "2": "Ben Okafor"}, []

    # Not made smaller: each example adds to the ledger of those before.
    @settings(max_examples=settings.default.max_examples // 3, phases=[Phase.generate])
    @given(st.lists(acts, min_size=6, max_size=12), filters)
    def compare(made, asked):
        for action, surface, actor, word, about in made:
            message = messages[about] if about is not None else None
            with transaction.atomic():
                record(
                    action,
                    actor=Actor(kind="person", id=actor, label=names[actor], surface=surface),
                    message=message.public_id if message else None,
                    connection=message.connection_id if message else None,
                    details={"reason": word, "recipients": word},
                    about=message,
                )
        query = dict(asked)
        if "message" in query:
            query["message"] = str(messages[query["message"]].public_id)
        # The file holds all pages, whichever was on screen.
        pages = {name: value for name, value in query.items() if name != "before"}
        for person in (auditor, of_one):
            client = signed_in(person)
            rows = shown(client, pages)
            assert taken(client, query) == rows[::-1]
            counts.append(len(rows))

    compare()
    assert (max(counts) > 10, len(set(counts)) > 4) == (True, True), "the filters were too strict to tell anything"


@pytest.mark.django_db(transaction=True)
def test_act_that_was_not_over_when_it_was_asked_for_is_not_in_it(signed_in, auditor):
    """Its number is smaller than others' that are in the file, and its row there before the file is read."""
    began, may_end = threading.Event(), threading.Event()

    def act():
        with transaction.atomic():
            record("message.opened", actor=Actor(kind="person", id="7", label="Ana", surface="web"))
            began.set()
            may_end.wait(600)

    thread, _ = in_thread(act)
    assert began.wait(600)
    with transaction.atomic():
        later = record("message.opened", actor=Actor(kind="person", id="8", label="Ben", surface="web"))
    client = signed_in(auditor)
    try:
        answer = client.post("/audit/export/?action=message.opened", {"format": "jsonl"})
    finally:
        may_end.set()
        thread.join()
    assert Entry.objects.of_action("message.opened").count() == 2
    export = Export.objects.get(pk=answer["Location"].split("/")[3])
    whole = client.get(f"/audit/export/{export.pk}/file").getvalue().decode()
    assert [json.loads(line)["id"] for line in whole.splitlines()] == [later.pk]
    assert export.rows_total == 1
    assert Person.objects.count() == 1
