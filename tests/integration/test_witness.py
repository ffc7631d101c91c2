"""Checkpoints of the ledger in a channel: their content, their rate, and the effect of
a refusing channel.
"""

from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from alerts.deliveries.witness import post_heads
from alerts.models import Destination
from audit.models import Anchor, Entry, Seal
from audit.sealing.sealer import seal_all
from audit.verification.checks import check_database
from tests.ledger import append, as_superuser, latest_details
from tests.standin import multimail

pytestmark = pytest.mark.django_db(transaction=True)

PATH = "/api/webhooks/1180000000000000427/token"


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
    return Destination.objects.create(
        name=name, url=discord.url + PATH, **{"witnesses": True, **fields}
    )


def seal():
    append(3)
    seal_all()
    return Seal.objects.order_by("-number").first()


def an_hour_passes():
    Destination.objects.update(witness_due_at=Now() - timedelta(seconds=1))


def test_only_a_newer_seal_is_posted_once_an_hour_to_each_witness_and_nobody_else(
    discord, witness
):
    assert post_heads() == 0, "there is no seal yet"
    make_witness(discord, "#off", witnesses=False)
    make_witness(discord, "#dead", switched_off_at=timezone.now())
    head = seal()
    assert [post_heads() for _ in range(2)] == [1, 0]
    ((_, path, body),) = discord.calls
    assert path == f"{PATH}?wait=true"
    for expected in (head.as_line().decode(), head.hash, head.key_fingerprint):
        assert expected in body["content"]
    anchor = Anchor.objects.get(kind="discord")
    assert (anchor.seal, anchor.reference) == (head.number, "111")
    assert "token" not in anchor.place
    an_hour_passes()
    assert post_heads() == 0
    seal()
    assert post_heads() == 1
    make_witness(discord, "#others")
    assert post_heads() == 1
    assert len(discord.calls) == 3
    assert check_database().findings == []
    as_superuser("DELETE FROM audit_anchor WHERE seal = 2")
    assert "posted to #others, and its anchor was removed" in str(
        check_database().findings
    )
    # A post is not recorded: it would require the next seal.
    assert set(Entry.objects.values_list("action", flat=True)) == {"message.opened"}


def test_failure_is_tried_again_later_and_a_dead_destination_is_switched_off_as_for_cards(
    discord,
):
    seal()
    witness = make_witness(discord)
    discord.answers[PATH] = (500, {})
    assert [post_heads() for _ in range(2)] == [0, 0]
    assert len(discord.calls) == 1
    an_hour_passes()
    discord.answers[PATH] = (200, {"id": "500"})
    assert post_heads() == 1
    seal()
    discord.answers[PATH] = (404, {"code": 10015})
    for _ in range(2):
        an_hour_passes()
        assert post_heads() == 0
    assert len(discord.calls) == 3
    witness.refresh_from_db()
    assert "Discord answered 404" in witness.switched_off_because
    assert latest_details("destination.switched_off")["after"] == "off"
