"""A verdict from the browser: the next message of the same list, the notice over it, presets, and high risk."""

import re

import pytest
from django.test import Client
from django.utils import timezone

from approvals.decide import give_verdict
from approvals.errors import RiskUnread
from approvals.models import Decision, Message, Revision
from approvals.reconcile import read_everything
from audit.models import Entry
from people.keys import KEYS
from people.models import Person
from tests.factories import NOW, make_connection, make_message, pending_row
from tests.integration.deciding import carry_out

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}
PREFETCH = {**HTMX, "X-Purpose": "prefetch"}


@pytest.fixture
def desk(signed_in, reviewer):
    return signed_in(reviewer)


@pytest.fixture
def message(connection):
    return make_message(connection, subject="Invoice 2207 for October")


@pytest.fixture
def three(connection):
    return [make_message(connection, subject=f"Letter {number}") for number in (1, 2, 3)]


def post(client, message, path="verdict", query="", headers=None, **fields):
    values = {"outcome": "approve", "fingerprint": message.revision.fingerprint, **fields}
    return client.post(f"/queue/{message.public_id}/{path}/{query}", values, headers=headers or {})


def actions(message):
    return list(Entry.objects.of_message(message.public_id).values_list("action", flat=True))


def shown(answer):
    """The id of the message that an answer shows, empty where it shows none."""
    found = re.search(r'id="message"[^>]*data-message="([^"]+)"', answer.content.decode())
    return found[1] if found else ""


def notice(answer):
    """The words of the notice over the message."""
    found = re.search(r'<div class="just" id="just">(<div.*?</div>)?</div>', answer.content.decode(), re.DOTALL)
    assert found, "no place for a notice"
    return " ".join(re.sub(r"<[^>]+>", " ", found[1] or "").split())


def make_risky(message, level="high", **fields):
    """Let a finding weigh as much as a rule can."""
    finding = {
        "rule": "link_text_lies", "level": level, "sentence": "A link lies.", "detail": "", "evidence": [],
        "version": 1, "points": 60, **fields,
    }  # fmt: skip
    Revision.objects.filter(pk=message.revision_id).update(findings=[finding])
    Message.objects.filter(pk=message.pk).update(risk=60, risk_level=level)
    message.refresh_from_db()
    return message


@pytest.mark.parametrize("outcome", ["approve", "reject", "send_back"])
def test_verdict_answers_with_the_next_message_under_a_notice(desk, three, outcome):
    answer = post(desk, three[0], outcome=outcome, reason="Because", headers=HTMX)
    assert (answer.status_code, shown(answer)) == (200, str(three[1].public_id))
    word = {"approve": "Approved. Leaves", "reject": "Rejected. Goes back", "send_back": "Sent back. Goes back"}
    # Of the five seconds some pass on a busy machine.
    assert re.match(rf"{word[outcome]} in [345] s", notice(answer)), notice(answer)
    assert f'action="/queue/{three[0].public_id}/undo/"' in answer.content.decode()


def test_next_message_keeps_the_order_and_the_filters_of_the_list(desk, three):
    query = "?q=Letter&order=riskiest"
    make_risky(three[2], "notice", points=20)
    answer = post(desk, three[0], query=query, headers=HTMX)
    assert shown(answer) == str(three[1].public_id), "the riskier one stands before the one decided, not after it"
    page = answer.content.decode()
    assert f'data-next="/queue/{three[2].public_id}/?q=Letter&amp;order=riskiest"' in page
    assert f'action="/queue/{three[1].public_id}/verdict/?q=Letter&amp;order=riskiest"' in page
    assert shown(post(desk, three[1], query="?q=nothing+of+this+kind", headers=HTMX)) == ""


def test_last_verdict_leaves_the_empty_state_with_the_notice(desk, message):
    answer = post(desk, message, headers=HTMX)
    page = answer.content.decode()
    assert shown(answer) == ""
    assert re.match(r"Approved\. Leaves in [345] s", notice(answer))
    assert "Nothing is waiting" in page
    assert "<html" not in page


def test_list_that_is_empty_by_its_filters_says_that_others_wait(desk, three):
    answer = post(desk, three[0], query='?q="Letter 1"', headers=HTMX)
    assert "2 more messages wait elsewhere" in " ".join(answer.content.decode().split())


def test_without_scripts_the_next_message_is_led_to_with_the_same_notice(desk, three):
    answer = post(desk, three[0], query="?order=soonest")
    assert answer.status_code == 302
    assert answer["Location"] == f"/queue/{three[1].public_id}/?order=soonest&decided={three[0].public_id}"
    page = desk.get(answer["Location"])
    assert re.match(r"Approved\. Leaves in [345] s", notice(page))
    assert shown(page) == str(three[1].public_id)
    for one in three[1:]:
        answer = post(desk, one)
    assert answer["Location"] == f"/queue/?decided={three[2].public_id}"
    assert notice(desk.get(answer["Location"])).startswith("Approved.")


def test_undo_in_the_notice_shows_the_message_again_and_it_is_held(desk, three):
    post(desk, three[0], headers=HTMX)
    answer = desk.post(f"/queue/{three[0].public_id}/undo/?order=soonest", headers=HTMX)
    assert shown(answer) == str(three[0].public_id)
    assert Decision.objects.get().state == "undone"
    assert "Undone, and held again." in answer.content.decode()
    plain = desk.post(f"/queue/{three[0].public_id}/undo/?order=soonest")
    assert plain.status_code == 409


def test_notice_tells_the_truth_of_later_and_only_to_who_decided(desk, three, second_reviewer):
    post(desk, three[0], headers=HTMX)
    path = f"/queue/{three[0].public_id}/decided/"
    Decision.objects.update(state="refused", explanation="The content had changed.")
    assert notice(desk.get(path, headers=HTMX)).startswith("Held again. The content had changed.")
    Decision.objects.update(state="undone")
    assert "Approved" not in desk.get(path, headers=HTMX).content.decode()
    Decision.objects.update(state="recorded")
    ben = Client()
    ben.force_login(second_reviewer, backend="people.backend.PersonBackend")
    assert "Approved" not in ben.get(path, headers=HTMX).content.decode()
    assert "decided" not in ben.get(f"/queue/{three[1].public_id}/?decided={three[0].public_id}").content.decode()
    assert desk.get(path)["Location"] == f"/queue/{three[0].public_id}/"


@pytest.mark.parametrize("nonsense", ["x", "01a1fa07-d9b0-7713-aca7-3ecd5c8689f1", ""])
def test_nonsense_about_what_was_decided_shows_no_notice(desk, message, nonsense):
    answer = desk.get(f"/queue/{message.public_id}/?decided={nonsense}")
    assert answer.status_code == 200
    assert notice(answer) == ""


def test_fetching_ahead_changes_nothing_and_is_not_reading(desk, three):
    before, told = list(Message.objects.order_by("pk").values()), actions(three[1])
    answer = desk.get(f"/queue/{three[1].public_id}/", headers=PREFETCH)
    assert shown(answer) == str(three[1].public_id)
    assert list(Message.objects.order_by("pk").values()) == before
    # By what they are: two entries of one moment have no order.
    assert sorted(actions(three[1])) == sorted([*told, "message.served"])


def test_preset_goes_with_the_words_that_were_written(desk, three):
    post(desk, three[0], outcome="reject", preset="private", reason="The margin, too.")
    assert Decision.objects.get().reason == "It gives away what must stay inside.\nThe margin, too."
    post(desk, three[1], outcome="send_back", preset="shorter", reason="")
    assert Decision.objects.latest("pk").reason == "Say it in half as many words."


@pytest.mark.proves("case 7")
@pytest.mark.parametrize("preset", ["", "no_such", "shorter"])
def test_reject_without_a_reason_is_422_and_keeps_form_and_choice(desk, message, preset):
    answer = post(desk, message, outcome="reject", preset=preset, reason=" ")
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "Say why, so that the agent can do better" in page
    assert re.search(r'id="reject"[^>]* open', page)
    # Said at once, and tied to the field that it is about.
    assert re.search(r'role="alert"[^>]*>.*?<strong>Say why', page, re.DOTALL)
    assert re.search(r'id="reject-reason"[^>]* aria-describedby="reject-note" aria-invalid="true"', page)
    assert re.search(r'id="reject-note">.*?<span>Say why', page)
    assert Decision.objects.count() == 0


@pytest.mark.proves("case 18")
def test_conflict_while_a_reason_is_chosen_and_typed_keeps_both(desk, three, second_reviewer):
    give_verdict(
        message=three[0].public_id, actor=second_reviewer.actor(surface="web"), outcome="approve",
        fingerprint=three[0].revision.fingerprint, reason="", now=timezone.now(),
    )  # fmt: skip
    answer = post(desk, three[0], outcome="reject", preset="promise", reason="No such discount", headers=HTMX)
    page = " ".join(answer.content.decode().split())
    assert (answer.status_code, shown(answer)) == (409, str(three[0].public_id))
    assert "Ben Okafor approved this message first, at" in page
    assert "It promises something that nobody here has agreed to. No such discount" in page


FILE = {"filename": "terms.pdf", "content_type": "application/pdf", "size": 7, "sha256": "a" * 64}


@pytest.mark.proves("case 2", "promise 2")
@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"to_addresses": ["eve@evil.example"]}, "eve@evil.example"),
        ({"bcc": ["eve@evil.example"]}, "eve@evil.example"),
        ({"reply_to": "eve@evil.example"}, "eve@evil.example"),
        ({"additions": {"footer": "Pay at evil.example"}}, "Pay at evil.example"),
        ({"attachments": [{**FILE, "sha256": "a" * 63 + "b"}]}, "terms.pdf"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_changes_upstream_after_approval_is_refused_and_shown(signed_in, reviewer, upstream, fields, shown):
    connection = make_connection(api_url=upstream.url)
    message = make_message(connection, attachments=[FILE])
    read = message.revision.fingerprint
    upstream.decides(200, status="approved_and_sent", decision="approved")
    upstream.holds(pending_row(message.upstream_id, **{"attachments": [FILE], **fields}))
    assert carry_out(message, reviewer) == "refused"
    assert upstream.decisions == []
    read_everything(connection_id=connection.pk, now=NOW)
    page = signed_in(reviewer).get(f"/queue/{message.public_id}/?since={read}").content.decode()
    changed = page.partition('id="changed"')[2].partition("</section>")[0]
    assert shown in changed


def test_high_risk_message_leads_to_a_page_of_its_own(desk, message):
    make_risky(message)
    page = desk.get(f"/queue/{message.public_id}/").content.decode()
    assert f'href="/queue/{message.public_id}/approve/"' in page
    assert "Approve and send" not in page.partition('id="decide"')[2]
    careful = desk.get(f"/queue/{message.public_id}/approve/?order=riskiest").content.decode()
    assert "dana@northwind.example" in careful
    assert "A link lies." in careful
    assert f'action="/queue/{message.public_id}/approve/?order=riskiest"' in careful


def test_ordinary_message_has_no_such_page(desk, message):
    answer = desk.get(f"/queue/{message.public_id}/approve/?order=riskiest")
    assert answer["Location"] == f"/queue/{message.public_id}/?order=riskiest"


def test_high_risk_message_is_not_approved_by_the_ordinary_form(desk, message, reviewer):
    make_risky(message)
    answer = post(desk, message, risk_read="link_text_lies", typed="northwind.example")
    assert answer.status_code == 409
    assert "approved on a page of its own" in answer.content.decode()
    assert "verdict.refused" in actions(message)
    with pytest.raises(RiskUnread):
        give_verdict(
            message=message.public_id, actor=reviewer.actor(surface="discord"), outcome="approve",
            fingerprint=message.revision.fingerprint, reason="", now=timezone.now(), risk_read=("first_contact",),
        )  # fmt: skip
    assert Decision.objects.count() == 0
    assert post(desk, message, outcome="reject", reason="No").status_code == 302, "to reject needs no care"


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"typed": "northwind.example"}, "Read this, and tick it: A link lies."),
        ({"risk_read": "link_text_lies"}, "Type it, so that it is certain whom this goes to."),
        ({"risk_read": "link_text_lies", "typed": "northwlnd.example"}, "Compare it letter by letter."),
        ({"risk_read": "link_text_lies", "typed": "northwind.example", "fingerprint": "x"}, "too old to decide from"),
    ],
)
def test_high_risk_page_keeps_what_was_typed_until_all_is_there(desk, message, fields, problem):
    make_risky(message)
    answer = post(desk, message, path="approve", **fields)
    page = answer.content.decode()
    assert answer.status_code == 422
    assert problem in page
    assert f'value="{fields.get("typed", "")}"' in page
    assert ('value="link_text_lies" checked' in page) == ("risk_read" in fields)
    assert Decision.objects.count() == 0


@pytest.mark.parametrize("typed", ["northwind.example", " @Northwind.Example. "])
def test_high_risk_page_approves_and_goes_on(desk, three, typed):
    make_risky(three[0])
    answer = post(desk, three[0], path="approve", risk_read="link_text_lies", typed=typed)
    assert answer["Location"] == f"/queue/{three[1].public_id}/?decided={three[0].public_id}"
    assert Decision.objects.get().outcome == "approve"


def test_many_people_are_counted_instead_of_named(desk, connection):
    people = [f"person{number}@northwind.example" for number in range(5)]
    message = make_risky(make_message(connection, to_addresses=people))
    page = desk.get(f"/queue/{message.public_id}/approve/").content.decode()
    assert "How many people get it?" in page
    assert page.count('class="address whole"') == 5
    assert post(desk, message, path="approve", risk_read="link_text_lies", typed="4").status_code == 422
    assert post(desk, message, path="approve", risk_read="link_text_lies", typed="5").status_code == 302


def test_high_risk_approval_that_comes_late_is_shown_on_the_message(desk, message, second_reviewer):
    make_risky(message)
    give_verdict(
        message=message.public_id, actor=second_reviewer.actor(surface="web"), outcome="reject",
        fingerprint=message.revision.fingerprint, reason="No", now=timezone.now(),
    )  # fmt: skip
    answer = post(desk, message, path="approve", risk_read="link_text_lies", typed="northwind.example")
    assert answer.status_code == 409
    assert "Ben Okafor rejected this message first" in answer.content.decode()


@pytest.fixture
def person(reviewer):
    return lambda: Person.objects.get(pk=reviewer.pk)


def keys(**moved):
    return {**{one.name: one.place for one in KEYS}, **moved}


def test_keys_are_moved_for_one_person_and_shown_where_they_are(desk, message, person):
    assert desk.post("/people/me/keys/", {"do": "save", **keys(approve="y", undo="a")}).status_code == 302
    assert person().key_map == {"approve": "y", "undo": "a"}
    page = desk.get(f"/queue/{message.public_id}/").content.decode()
    assert "<kbd>Y</kbd></button></form>" in page
    assert "&quot;approve&quot;: &quot;y&quot;" in page
    assert desk.post("/people/me/keys/", {"do": "reset"}).status_code == 302
    assert person().key_map == {}


@pytest.mark.parametrize(
    ("moved", "sentence"),
    [
        ({"approve": "z"}, "“Z” would be two keys: “Approve” and “Undo, while it has not left”."),
        ({"reject": "7"}, "“7” cannot be the key for “Reject”: digits choose a reason."),
        ({"send_back": ""}, "Give “Send back for changes” a key: one letter or sign."),
        ({"comment": " "}, "Give “Comment” a key: one letter or sign."),
        ({"next": "jj"}, "Give “Next message in the list” a key: one letter or sign."),
    ],
)
def test_keys_that_cannot_be_are_named_in_a_sentence_and_kept_on_the_page(desk, person, moved, sentence):
    answer = desk.post("/people/me/keys/", {"do": "save", **keys(**moved)})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert sentence in page
    ((name, place),) = moved.items()
    assert f'name="{name}" value="{place}"' in page
    assert person().key_map == {}


def test_switching_keys_off_is_kept_and_takes_the_hints_away(desk, message, person):
    assert desk.post("/people/me/keys/", {"do": "off"}, headers=HTMX).status_code == 204
    assert person().keys_off
    page = desk.get(f"/queue/{message.public_id}/").content.decode()
    assert "data-keys-off" in page
    bar = page.partition('id="decide"')[2].partition("</article>")[0]
    assert set(re.findall(r"<kbd>[^<]*</kbd>", bar)) <= {"<kbd>Ctrl</kbd>", "<kbd>Enter</kbd>"}
    desk.post("/people/me/keys/", {"do": "on"})
    assert not person().keys_off
