"""The demo as a process: it stops on a signal, says why it cannot start, and restarts
with its data.
"""

import contextlib
import json
import os
import subprocess
import sys

import pytest
import requests

from tests.integration.demo.running import ROOT, SECONDS, Process, ask
from tests.stack import wait_for


def test_cards_and_deleted_webhooks_survive_a_kill_and_no_token_is_stored(own_demo):
    webhook = own_demo.new_webhook()
    deleted = own_demo.new_webhook()
    message_id = ask(
        "POST", webhook, json={"content": "one"}, params={"wait": "true"}
    ).json()["id"]
    ask("PATCH", f"{webhook}/messages/{message_id}", json={"content": "two"})
    ask("DELETE", deleted)
    own_demo.stop()
    journal = own_demo.data_dir / "discord.jsonl"
    assert "a-token_1" not in journal.read_text()
    journal.write_text(journal.read_text() + '\n{"torn')
    own_demo.start()
    (message,) = own_demo.get("/messages.json").json()["messages"]
    assert message["content"] == "two"
    assert message["edits"] == 1
    webhook, deleted = (
        own_demo.url + address[address.index("/api") :]
        for address in (webhook, deleted)
    )
    assert (
        ask(
            "PATCH", f"{webhook}/messages/{message_id}", json={"content": "three"}
        ).status_code
        == 200
    )
    assert ask("GET", deleted).json()["code"] == 10015
    # A wrong token is refused, also after a restart.
    refused = ask("POST", webhook[:-1], json={"content": "y"})
    assert refused.status_code == 401
    assert refused.json()["code"] == 50027
    written = journal.read_text().split("\n")
    lines = [line for line in written if line and not line.endswith("torn")]
    assert [json.loads(line)["status"] for line in lines] == [
        200,
        200,
        204,
        200,
        404,
        401,
    ]


def test_sigterm_stops_it_despite_a_hanging_response_and_its_log_names_nobody(tmp_path):
    process = Process(tmp_path).start()
    process.mail(["private.person@a.example"], "Private matter")
    wait_for(lambda: process.event("smtp.kept"), SECONDS, "the mail in the log")
    process.control({"hang": 120})
    with contextlib.suppress(requests.Timeout):
        requests.post(process.new_webhook(), json={"content": "x"}, timeout=0.1)
    assert process.end() == 0
    assert not [line for line in process.lines if "private" in str(line).lower()]


def ended(**variables):
    """Start a demo that cannot start; return its status, the last line of its log, and
    its other output.
    """
    environment = {
        name: value for name, value in (os.environ | variables).items() if value
    }
    done = subprocess.run(
        [sys.executable, "-m", "demo"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    return done.returncode, json.loads(done.stdout), done.stderr


@pytest.mark.slow
def test_impossible_start_exits_with_the_reason(demo, tmp_path):
    status, output, errors = ended(DATA_DIR="/nowhere", DISCORD_PORT="0", SMTP_PORT="")
    assert status == 2
    assert "SMTP_PORT is not set" in output["reason"]
    assert errors == ""
    status, output, _ = ended(
        DATA_DIR=str(tmp_path), DISCORD_PORT=demo.url.rpartition(":")[2], SMTP_PORT="0"
    )
    assert status == 1
    assert output["event"] == "demo.cannot_start"
