"""The doctor reports what is stuck, why and what to do, also when PostgreSQL or Redis
is down.
"""

from datetime import timedelta
from functools import partial

import pytest
import redis
from django.conf import settings
from django.core.management import call_command
from django.db.models.functions import Now

from alerts.models import Destination
from audit.models import Entry
from dashboard.health import checks
from dashboard.models import Tick
from launcher import data_folder
from mirror.models import Connection
from policy.kill_switch import pull
from tests.factories import (
    actor_of,
    change_row,
    make_connection,
    make_message,
)
from tests.integration.deciding import make_decision


@pytest.fixture
def run_doctor(capsys):
    """Return a function that runs the doctor and returns its exit status and output."""

    def run(*options):
        status = 0
        try:
            call_command("doctor", *options)
        except SystemExit as ended:
            status = int(ended.code or 0)
        return status, capsys.readouterr().out

    return run


decided = partial(make_decision, changed_at=Now() - timedelta(minutes=5))


def test_doctor_says_what_is_stuck_why_and_where_to_fix_it(
    run_doctor, working, reviewer, admin
):
    message = make_message(working, subject="Invoice 2207")
    decided(
        message,
        reviewer,
        state="unknown",
        explanation="MultiMail did not answer in time.",
    )
    # Control characters in a subject do not reach the terminal.
    overdue = make_message(working, subject="\x1b[2J\x07gone\u202e")
    change_row(overdue, expires_at=Now() - timedelta(minutes=5))
    pull(actor=actor_of(admin), reason="A flood of refunds")
    Connection.objects.update(paused_at=Now(), paused_because="The key was refused.")
    Destination.objects.create(name="Ops", url="https://discord.com/api/webhooks/1/secret-token",
                               switched_off_at=Now(), switched_off_because="Discord says it is gone.")  # fmt: skip
    entries = Entry.objects.count()
    status, output = run_doctor()
    assert Entry.objects.count() == entries, "it changes nothing"
    assert status == 2
    assert output.splitlines()[-1] == "5 problems to resolve."
    for words in (
        "Invoice 2207", "MultiMail did not answer in time.", "[2J", "A flood of refunds", "The key was refused.",
        "Discord says it is gone.", f"{settings.PUBLIC_URL}/attention/",
    ):  # fmt: skip
        assert words in output, words
    for hidden in (
        "secret-token",
        "mm_live_oversight",
        "whsec_of_the_tests",
        settings.SECRET_KEY,
        "\x1b",
    ):
        assert hidden not in output


@pytest.mark.slow
def test_doctor_posts_a_test_to_each_destination_if_asked(run_doctor, working, discord):
    good, gone = discord.destination(1), discord.destination(2)
    discord.next["2"] = [(404, {}, {"code": 10015})]
    run_doctor()
    assert discord.calls == []
    status, out = run_doctor("--test-alerts")
    assert status == 2
    assert f"{gone}: Discord does not know this webhook" in out.split("For info")[0]
    assert f"{good}: Discord accepted the test." in out
    assert Entry.objects.filter(action="destination.tested").count() == 2


def test_doctor_says_that_the_desk_does_not_run_and_names_no_address_of_it(
    run_doctor, working, reviewer, settings, tmp_path
):
    # As ./run manage leaves it while its command runs and no run holds the folder.
    settings.DATA_DIR = tmp_path
    decided(
        make_message(working, subject="Invoice 2207"),
        reviewer,
        state="unknown",
    )
    decided(
        make_message(working),
        reviewer,
        state="recorded",
        due_at=Now() - timedelta(minutes=5),
    )
    Connection.objects.update(complete_as_of=Now() - timedelta(hours=1))
    Tick.objects.update(at=Now() - timedelta(hours=1))
    with data_folder.held(tmp_path):
        data_folder.write_state(
            tmp_path,
            {"pid": 1, "verb": "manage", "processes": {"postgres": 2, "redis": 3}},
        )
        status, output = run_doctor()
    assert status == 2
    assert output.splitlines()[-1] == "2 problems to resolve."
    assert "The desk is not running" in output
    for words in (settings.PUBLIC_URL, "no worker", "cannot be read", "not carried"):
        assert words not in output


def test_doctor_says_how_redis_is(settings):
    broker = redis.Redis.from_url(settings.REDIS_URL)
    policy = broker.config_get("maxmemory-policy")["maxmemory-policy"]
    try:
        # What other tests had sent.
        broker.delete("sync")
        broker.rpush("sync", *["{}"] * 1001)
        broker.config_set("maxmemory-policy", "allkeys-lru")
        sentences = " ".join(one.what for one in checks._redis_server())
    finally:
        broker.config_set("maxmemory-policy", policy)
        broker.delete("sync")
    assert "1001 tasks are waiting in the queue sync" in sentences
    assert "maxmemory-policy allkeys-lru" in sentences

    settings.REDIS_URL = "redis://user:hunter2@127.0.0.1:1/0"
    [down] = checks._redis_server()
    assert down.needs_action is True
    assert "hunter2" not in down.what


def test_no_driver_error_makes_the_doctor_print_a_password():
    error = OSError(
        'cannot connect with "postgresql://desk:hunter2@db/desk"\nhunter2 again'
    )
    assert (
        checks._first_line(error, "hunter2")
        == 'cannot connect with "postgresql://desk:[hidden]@db/desk"'
    )


def test_metrics_report_ages_and_counts_in_prometheus_format(client, working, reviewer):
    message = make_message(working)
    change_row(message, held_at=Now() - timedelta(seconds=90))
    make_connection("never")
    Connection.objects.filter(slug="main").update(
        complete_as_of=Now() - timedelta(seconds=30)
    )
    page = client.get("/metrics").text.splitlines()
    metrics = dict(line.rsplit(" ", 1) for line in page if not line.startswith("# "))
    assert all(
        name.startswith("countersign_") and float(value) >= 0
        for name, value in metrics.items()
    )
    assert float(metrics["countersign_messages_waiting"]) == 1
    assert float(metrics["countersign_oldest_waiting_seconds"]) > 89
    assert float(metrics['countersign_complete_age_seconds{connection="main"}']) > 29
    assert metrics['countersign_complete_age_seconds{connection="never"}'] == "+Inf"
