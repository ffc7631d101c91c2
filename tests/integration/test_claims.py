"""Claims: who has a message, how it ends, and that it keeps nobody from deciding (case 23)."""

import re
import threading
from datetime import timedelta

import pytest
from django.db import connection as database
from django.db import connections
from django.db.models.functions import Now

from approvals.desk.claims import end_idle, take
from approvals.errors import ClaimedByOther
from approvals.models import Claim
from approvals.tasks import sweep
from audit.models import Entry
from people.models import Person
from tests.factories import NOW, make_connection, make_message, make_person
from tests.integration.deciding import decide

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true"}


@pytest.fixture
def message(connection):
    return make_message(connection)


def claim(client, message, what="claim/", headers=None, **fields):
    return client.post(f"/queue/{message.public_id}/{what}", fields, headers=headers or {})


def take_on(message, person, **options):
    return take(message=message.public_id, actor=person.actor(surface="web"), now=NOW, **options)


def let_idle(minutes=11):
    Claim.objects.update(seen_at=Now() - timedelta(minutes=minutes))


def acts(message):
    """What the ledger says of claims on the message, oldest first."""
    entries = Entry.objects.of_message(message.public_id).filter(action__startswith="claim.").oldest_first()
    return [(one.action, one.detail.fields) for one in entries.select_related("detail")]


def mine(client):
    page = client.get("/queue/").content.decode()
    return re.search(r'data-tab-of="mine".*?data-count>(\d*)<', page, re.DOTALL)[1]


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["page", "fragment"])
def test_claim_says_who_has_it_on_row_and_bar(signed_in, reviewer, second_reviewer, message, headers):
    answer = claim(signed_in(reviewer), message, headers=headers)
    assert answer.status_code == (200 if headers else 302)
    if headers:
        assert "You have it" in answer.content.decode()
    page = signed_in(reviewer).get(f"/queue/{message.public_id}/").content.decode()
    assert page.count("You have it") == 2
    assert "Give back" in page
    other = signed_in(second_reviewer).get(f"/queue/{message.public_id}/").content.decode()
    assert other.count("Ana Ferreira has it") == 2
    assert acts(message) == [("claim.taken", acts(message)[0][1])]


def test_claim_taken_twice_is_one_act(signed_in, reviewer, message):
    client = signed_in(reviewer)
    for _ in range(2):
        claim(client, message)
    assert [action for action, _ in acts(message)] == ["claim.taken"]


def test_claim_given_back_is_free_and_somebody_elses_is_not_touched(signed_in, reviewer, second_reviewer, message):
    claim(signed_in(reviewer), message)
    claim(signed_in(second_reviewer), message, "claim/release/")
    assert Claim.objects.count() == 1
    claim(signed_in(reviewer), message, "claim/release/")
    assert Claim.objects.count() == 0
    assert acts(message)[-1][0] == "claim.released"


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["page", "fragment"])
def test_taking_over_asks_with_a_named_button_and_is_in_the_ledger(
    signed_in, reviewer, second_reviewer, message, headers
):
    take_on(message, reviewer)
    client = signed_in(second_reviewer)
    answer = claim(client, message, headers=headers)
    page = answer.content.decode()
    assert answer.status_code == 409
    assert "Take over from Ana Ferreira</button>" in page
    assert Claim.objects.get().person == reviewer
    holder = re.search(r'name="take_over" value="(\d+)"', page)[1]
    claim(client, message, headers=headers, take_over=holder)
    assert Claim.objects.get().person == second_reviewer
    released, taken = acts(message)[1:]
    assert (released[0], released[1]["holder"]) == ("claim.released", "Ana Ferreira")
    assert (taken[0], taken[1]["from"], taken[1]["actor"]) == ("claim.taken", "Ana Ferreira", "Ben Okafor")


def test_taking_over_from_who_has_lost_it_asks_again(signed_in, reviewer, second_reviewer, admin, message):
    cleo = make_person("cleo@yourteam.example", "Cleo", "reviewer")
    take_on(message, cleo)
    answer = claim(signed_in(second_reviewer), message, take_over=reviewer.pk)
    assert answer.status_code == 409
    assert "Take over from Cleo" in answer.content.decode()
    assert Claim.objects.get().person == cleo


@pytest.mark.parametrize("nonsense", ["x", "-1", "9" * 30])
def test_taking_over_from_nobody_known_is_a_plain_claim(signed_in, reviewer, message, nonsense):
    assert claim(signed_in(reviewer), message, take_over=nonsense).status_code == 302
    assert Claim.objects.get().person == reviewer


@pytest.mark.django_db(transaction=True)
def test_two_who_claim_at_once_get_one_claim_and_one_question():
    people = [make_person(f"p{n}@yourteam.example", f"P{n}", "reviewer") for n in range(2)]
    message = make_message(make_connection())
    start, said = threading.Barrier(2), []

    def run(person):
        start.wait(5)
        try:
            said.append(take_on(message, person).person_id)
        except ClaimedByOther as error:
            said.append(-error.holder)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=[person]) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    holder = Claim.objects.get().person_id
    assert sorted(said) == [-holder, holder]


def test_claim_keeps_nobody_from_deciding_and_ends_with_the_decision(reviewer, second_reviewer, message):
    take_on(message, reviewer)
    decide(message, second_reviewer)
    assert Claim.objects.count() == 0
    action, told = acts(message)[-1]
    assert (action, told["holder"], told["actor"]) == ("claim.released", "Ana Ferreira", "Ben Okafor")
    assert told["explanation"] == "The message was decided."


def test_what_is_decided_cannot_be_taken_on(signed_in, reviewer, second_reviewer, message):
    decide(message, second_reviewer)
    answer = claim(signed_in(reviewer), message, headers=HTMX)
    assert answer.status_code == 409
    assert Claim.objects.count() == 0


@pytest.mark.proves("case 23")
def test_claim_of_somebody_idle_is_free_for_others_and_the_counts_are_right(
    signed_in, reviewer, second_reviewer, message
):
    take_on(message, reviewer)
    assert mine(signed_in(reviewer)) == "1"
    let_idle()
    # Nothing has swept yet: what is over is over by the clock.
    assert mine(signed_in(reviewer)) == "0" or mine(signed_in(reviewer)) == ""
    client = signed_in(second_reviewer)
    assert "has it" not in client.get(f"/queue/{message.public_id}/").content.decode()
    assert claim(client, message).status_code == 302
    assert Claim.objects.get().person == second_reviewer
    assert mine(client) == "1"
    assert re.search(r"data-waiting>1<", client.get("/queue/").content.decode())
    action, told = acts(message)[1]
    assert (action, told["explanation"]) == ("claim.released", "It was not on the holder's screen for ten minutes.")


def test_sweep_ends_an_idle_claim_and_records_it(reviewer, message):
    take_on(message, reviewer)
    let_idle(minutes=9)
    assert end_idle() == 0
    let_idle()
    sweep()
    assert Claim.objects.count() == 0
    action, told = acts(message)[-1]
    assert (action, told["actor"]) == ("claim.released", "the desk worker")


@pytest.mark.parametrize(
    ("method", "path", "headers", "keeps"),
    [
        ("get", "", {}, True),
        ("post", "opened/", {}, True),
        ("post", "presence/", {}, True),
        ("head", "", {}, False),
        ("get", "", {"Sec-Purpose": "prefetch"}, False),
        ("get", "", HTMX, False),
    ],
    ids=["page", "opened", "beat", "head", "prefetch", "fragment"],
)
def test_only_what_is_on_the_holders_screen_keeps_a_claim(signed_in, reviewer, message, method, path, headers, keeps):
    take_on(message, reviewer)
    let_idle(minutes=9)
    getattr(signed_in(reviewer), method)(f"/queue/{message.public_id}/{path}", headers=headers)
    age = database_age(Claim.objects.get())
    assert (age < 5) is keeps


def database_age(claim):
    with database.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM now() - seen_at) FROM approvals_claim WHERE id = %s", [claim.pk])
        return cursor.fetchone()[0]


def test_somebody_elses_look_keeps_no_claim(signed_in, reviewer, second_reviewer, message):
    take_on(message, reviewer)
    let_idle(minutes=9)
    signed_in(second_reviewer).get(f"/queue/{message.public_id}/")
    assert database_age(Claim.objects.get()) > 500


def test_look_after_ten_minutes_does_not_bring_a_claim_back(signed_in, reviewer, message):
    take_on(message, reviewer)
    let_idle()
    page = signed_in(reviewer).get(f"/queue/{message.public_id}/").content.decode()
    assert "You have it" not in page


def test_signing_out_gives_everything_free(signed_in, reviewer, connection):
    messages = [make_message(connection) for _ in range(2)]
    for message in messages:
        take_on(message, reviewer)
    signed_in(reviewer).post("/accounts/logout/")
    assert Claim.objects.count() == 0
    assert acts(messages[1])[-1][1]["explanation"] == "Its holder signed out."


def test_whoever_leaves_the_desk_has_nothing_any_more(signed_in, reviewer, second_reviewer, message):
    take_on(message, reviewer)
    reviewer.is_active = False
    reviewer.save()
    assert Claim.objects.count() == 0
    assert acts(message)[-1][1]["explanation"] == "Its holder left the desk."


def test_whoever_was_switched_off_in_another_way_has_nothing_at_once(signed_in, reviewer, second_reviewer, message):
    take_on(message, reviewer)
    Person.objects.filter(pk=reviewer.pk).update(is_active=False)
    page = signed_in(second_reviewer).get(f"/queue/{message.public_id}/").content.decode()
    assert "has it" not in page
    end_idle()
    assert acts(message)[-1][1]["explanation"] == "Its holder left the desk."


@pytest.mark.parametrize("role", ["auditor", "admin"])
def test_only_who_may_decide_can_claim(signed_in, message, role):
    person = make_person("x@yourteam.example", "X", role)
    client = signed_in(person)
    assert "claim-button" not in client.get(f"/queue/{message.public_id}/").content.decode()
    assert claim(client, message, headers=HTMX).status_code == 403
    assert Claim.objects.count() == 0


def test_fragment_beside_shows_the_same_as_the_page_and_leads_plain_requests_there(signed_in, reviewer, message):
    take_on(message, reviewer)
    client = signed_in(reviewer)
    part = client.get(f"/queue/{message.public_id}/beside/", headers=HTMX).content.decode()
    assert "You have it" in part
    assert 'id="story" hx-swap-oob="true"' in part
    assert "<html" not in part
    assert client.get(f"/queue/{message.public_id}/beside/").status_code == 302
