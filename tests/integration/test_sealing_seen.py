"""Where the state of the seals is shown: the doctor, the Attention page, Prometheus."""

from datetime import timedelta

import pytest
from django.core.management import call_command

from approvals.operations.attention import attention_count, attention_for
from audit.models import Entry
from audit.sealing.sealer import seal_all
from common.postgres import clock
from tests.factories import make_person
from tests.ledger import append, as_superuser, new_key

pytestmark = pytest.mark.django_db(transaction=True)
LATE = "The newest ledger entries are not sealed"


@pytest.fixture
def late():
    """Entries that should have been sealed long ago."""
    append()
    seal_all()
    as_superuser("UPDATE audit_seal SET at = at - interval '5 minutes'")
    append(2)
    as_superuser(
        "UPDATE audit_entry SET at = at - interval '2 minutes' WHERE id > (SELECT min(id) FROM audit_entry)"
    )


def _ledger(person):
    actor = person.actor(surface="web")
    return [
        one for one in attention_for(actor, clock()) if one.kind.startswith("ledger")
    ]


def test_late_seals_are_shown_to_those_who_see_everything(
    late, admin, auditor, connection, settings, signed_in
):
    narrow = make_person(
        "dan@yourteam.example", "Dan", "reviewer", connection=connection
    )
    before = attention_count(narrow.actor(surface="web"))
    (one,) = _ledger(auditor)
    assert one.what == LATE
    assert timedelta(seconds=110) < clock() - one.since < timedelta(minutes=30)
    assert "see its log" in one.advice
    assert _ledger(admin) == [one]
    assert _ledger(narrow) == []
    assert attention_count(auditor.actor(surface="web")) == before + 1
    page = signed_in(auditor).get("/attention/").text
    assert LATE in page
    assert "whoever runs the desk" in page
    settings.SEAL_KEYS = []
    assert _ledger(auditor) == [], "a key that is missing is no alarm"


def test_doctor_and_metrics_show_how_far_the_ledger_is_sealed(
    late, client, settings, capsys
):
    lines = dict(
        line.rsplit(" ", 1)
        for line in client.get("/metrics").text.splitlines()
        if line[0] != "#"
    )
    assert float(lines["countersign_ledger_unsealed"]) == Entry.objects.count() - 1
    assert float(lines["countersign_ledger_oldest_unsealed_seconds"]) > 100
    assert float(lines["countersign_ledger_seal_age_seconds"]) > 200
    assert float(lines["countersign_ledger_stopped"]) == 0

    def doctor():
        with pytest.raises(SystemExit):
            call_command("doctor")
        return capsys.readouterr().out

    assert LATE in doctor()
    settings.SEAL_KEYS = []
    output = doctor()
    assert "For information" in output
    assert "SEAL_KEY is not set, so the ledger is not sealed." in output
    # Stopped sealing is reported at once, before anything is late.
    as_superuser("UPDATE audit_entry SET at = clock_timestamp()")
    settings.SEAL_KEYS = [new_key()]
    assert "Sealing of the ledger has stopped. The key" in doctor()
