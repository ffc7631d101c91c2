"""Heads of the ledger in a channel: what is posted, how often, and what a channel that refuses costs."""

import json
from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from alerts.models import Card, Delivery, Destination
from alerts.sending.deliver import deliver_card
from alerts.sending.witness import head_post, post_heads
from audit.models import Anchor, Entry, Seal
from audit.sealing import signing
from audit.sealing.sealer import seal_all
from tests.factories import make_connection, make_message
from tests.ledger import append
from tests.standin import multimail

pytestmark = pytest.mark.django_db(transaction=True)

PATH = "/api/webhooks/1180000000000000427/token"
FORM = {"name": "#proofs", "url": "", "privacy": "headers", "events": ["email.held"]}


@pytest.fixture
def discord(settings, tmp_path):
    settings.SEAL_FILE = tmp_path / "seals.jsonl"
    with multimail() as standin:
        settings.OUTGOING_ALLOW = [standin.url]
        standin.answers[PATH] = (200, {"id": "111"})
        yield standin


@pytest.fixture
def witness(discord):
    return make_witness(discord)


def make_witness(discord, name="#proofs", **fields):
    return Destination.objects.create(name=name, url=discord.url + PATH, **{"witnesses": True, **fields})


def seal(number=3):
    append(number)
    seal_all()
    return Seal.objects.order_by("-number").first()


def an_hour_passes():
    Destination.objects.update(witness_due_at=Now() - timedelta(seconds=1))


def test_head_is_posted_with_its_numbers_and_noted(discord, witness):
    head = seal()
    assert post_heads() == 1
    ((method, path, body),) = discord.calls
    assert (method, path) == ("POST", f"{PATH}?wait=true")
    key = signing.key_fingerprint(bytes.fromhex(head.key))
    for told in (f"seal {head.number}", "3 entries", head.root, key, f"{head.at:%Y-%m-%d %H:%M:%S} UTC"):
        assert told in body["content"]
    assert body["allowed_mentions"] == {"parse": []}
    assert len(body["content"]) < 400
    anchor = Anchor.objects.get(kind="discord")
    assert (anchor.seal, anchor.reference) == (head.number, "111")
    assert anchor.place == f"#proofs, {discord.url.partition('//')[2]}/api/webhooks/…0427/••••"
    witness.refresh_from_db()
    assert witness.witnessed_seal == head.number
    assert abs(timezone.now() - witness.witnessed_at) < timedelta(minutes=1)


def test_post_holds_nothing_of_any_letter_or_person(discord, witness, connection, reviewer):
    make_message(connection, subject="Not for Discord", recipients=["dana@northwind.example"])
    said = json.dumps(head_post(seal()))
    for personal in ("Not for Discord", "northwind", reviewer.name, reviewer.email):
        assert personal not in said
    assert "@" not in said


def test_only_a_newer_seal_is_posted_and_once_an_hour(discord, witness):
    seal()
    assert [post_heads(), post_heads()] == [1, 0]
    an_hour_passes()
    assert post_heads() == 0
    seal()
    assert post_heads() == 1
    seal()
    assert post_heads() == 0
    an_hour_passes()
    assert post_heads() == 1
    assert len(discord.calls) == 3
    # A post is no act: it would ask for the next seal.
    assert set(Entry.objects.values_list("action", flat=True)) == {"message.opened"}


def test_nothing_is_posted_before_the_first_seal_or_to_others(discord, witness):
    assert post_heads() == 0
    make_witness(discord, "#off", witnesses=False)
    make_witness(discord, "#dead", switched_off_at=timezone.now())
    seal()
    assert post_heads() == 1


def test_each_of_two_witnesses_has_its_own_time(discord, witness):
    seal()
    post_heads()
    seal()
    other = make_witness(discord, "#others")
    assert post_heads(only=other.pk) == 1
    assert dict(Destination.objects.values_list("name", "witnessed_seal")) == {"#proofs": 1, "#others": 2}


def test_wait_that_discord_asks_for_holds_for_heads_and_cards(discord, witness, connection):
    seal()
    card = Card.objects.create(destination=witness, message=make_message(connection))
    due = Delivery.objects.create(destination=card.destination, message=card.message, card=card, action="message.held")
    discord.answers[PATH] = (429, {"retry_after": 30})
    assert [post_heads(), post_heads()] == [0, 0]
    assert len(discord.calls) == 1
    witness.refresh_from_db()
    assert timedelta(seconds=20) < witness.witness_due_at - timezone.now() < timedelta(seconds=40)
    assert deliver_card(delivery_id=due.pk) == "not due"
    assert witness.switched_off_at is None


def test_head_waits_where_a_card_was_asked_to(discord, witness, connection):
    seal()
    card = Card.objects.create(destination=witness, message=make_message(connection))
    due = Delivery.objects.create(destination=witness, message=card.message, card=card, action="message.held")
    discord.answers[PATH] = (429, {"retry_after": 30})
    assert deliver_card(delivery_id=due.pk) == "asked to wait"
    assert (post_heads(), len(discord.calls)) == (0, 1)


@pytest.mark.parametrize("status", [500, 400])
def test_failure_is_tried_again_later(discord, witness, status):
    seal()
    discord.answers[PATH] = (status, {})
    assert [post_heads(), post_heads()] == [0, 0]
    assert len(discord.calls) == 1
    discord.answers[PATH] = (200, {"id": "112"})
    an_hour_passes()
    assert post_heads() == 1
    assert Anchor.objects.get(kind="discord").reference == "112"


@pytest.mark.parametrize("status", [401, 403, 404])
def test_dead_destination_is_switched_off_as_for_cards(discord, witness, status):
    seal()
    discord.answers[PATH] = (status, {})
    assert post_heads() == 0
    witness.refresh_from_db()
    assert f"Discord answered {status}" in witness.switched_off_because
    told = Entry.objects.of_action("destination.switched_off").select_related("detail").get().detail.fields
    assert (told["before"], told["after"]) == ("on", "off")
    an_hour_passes()
    assert post_heads() == 0
    assert len(discord.calls) == 1


def test_admin_makes_a_witness_and_the_ledger_tells_before_and_after(signed_in, admin, discord):
    destination = make_witness(discord, witnesses=False)
    client = signed_in(admin)
    assert "Keep the ledger's heads here" in client.get(f"/alerts/{destination.pk}/").content.decode()
    client.post(f"/alerts/{destination.pk}/", {**FORM, "witnesses": "yes"})
    destination.refresh_from_db()
    assert destination.witnesses
    told = Entry.objects.of_action("destination.changed").select_related("detail").get().detail.fields
    assert "keeps heads of the ledger: no" in told["before"]
    assert "keeps heads of the ledger: yes" in told["after"]
    assert 'value="yes" checked' in client.get(f"/alerts/{destination.pk}/").content.decode()
    assert "none was posted yet" in client.get("/alerts/").content.decode()
    seal()
    assert post_heads() == 1
    assert "seal 1</a>" in client.get("/alerts/").content.decode()
    client.post(f"/alerts/{destination.pk}/", FORM)
    seal()
    an_hour_passes()
    assert post_heads() == 0


def test_witness_may_be_told_of_nothing_else(signed_in, admin, discord):
    client = signed_in(admin)
    bare = {"name": "#proofs", "url": discord.url + PATH, "privacy": "headers"}
    assert client.post("/alerts/add/", bare).status_code == 422
    assert client.post("/alerts/add/", {**bare, "witnesses": "yes"}).status_code == 302
    seal()
    assert post_heads() == 1


def test_another_address_gets_the_head_anew(signed_in, admin, discord, witness):
    seal()
    post_heads()
    other = "/api/webhooks/1180000000000000428/token"
    discord.answers[other] = (200, {"id": "222"})
    signed_in(admin).post(f"/alerts/{witness.pk}/", {**FORM, "url": discord.url + other, "witnesses": "yes"})
    assert post_heads() == 1
    assert discord.paths[-1] == f"{other}?wait=true"


def test_compare_takes_what_the_channel_was_told(signed_in, reviewer, discord, witness):
    make_connection("another")
    seal()
    post_heads()
    client, said = signed_in(reviewer), discord.calls[0][2]["content"]
    # As it was sent, and as it is copied out of a channel.
    for text in (said, said.replace("*", "").replace("`", "")):
        page = client.post("/audit/verify/compare/", {"head": text}).content.decode()
        assert "Everything under this head is still there." in page
