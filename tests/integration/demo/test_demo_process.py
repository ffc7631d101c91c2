"""The demo as a process: it ends when told, says why it cannot start, and remembers what it held."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import requests

from tests.integration.demo.running import ROOT, Demo


def test_cards_and_deleted_webhooks_survive_a_kill_and_no_token_is_kept(own_demo: Demo) -> None:
    own_demo.start()
    webhook, deleted = own_demo.new_webhook(), own_demo.new_webhook()
    place = requests.post(webhook, json={"content": "one"}, params={"wait": "true"}, timeout=5).json()["id"]
    requests.patch(f"{webhook}/messages/{place}", json={"content": "two"}, timeout=5)
    requests.delete(deleted, timeout=5)
    own_demo.stop(signal.SIGKILL)
    journal = own_demo.data_dir / "discord.jsonl"
    assert "a-token_1" not in journal.read_text()
    journal.write_text(journal.read_text() + '{"torn')
    own_demo.start()
    (message,) = own_demo.get("/messages.json").json()["messages"]
    assert (message["content"], message["edits"]) == ("two", 1)
    webhook, deleted = (own_demo.url + address[address.index("/api") :] for address in (webhook, deleted))
    assert requests.patch(f"{webhook}/messages/{place}", json={"content": "three"}, timeout=5).status_code == 200
    assert requests.get(deleted, timeout=5).json()["code"] == 10015
    statuses = [json.loads(line)["status"] for line in journal.read_text().splitlines() if not line.endswith("torn")]
    assert statuses == [200, 200, 204, 200, 404]


def test_sigterm_ends_it_at_once_although_an_answer_hangs(own_demo: Demo) -> None:
    own_demo.start()
    own_demo.control({"hang": 60})
    try:
        requests.post(own_demo.new_webhook(), json={"content": "x"}, timeout=0.1)
    except requests.Timeout:
        pass
    begun = time.monotonic()
    assert own_demo.stop() == 0
    assert time.monotonic() - begun < 1


def test_a_missing_variable_ends_the_start_with_its_name() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "SMTP_PORT"}
    ended = subprocess.run(
        [sys.executable, "-m", "demo"],
        cwd=ROOT,
        env={**environment, "DATA_DIR": "/nowhere", "DISCORD_PORT": "0"},
        capture_output=True,
        text=True,
        timeout=5,
    )
    assert ended.returncode == 2
    assert "SMTP_PORT is not set" in json.loads(ended.stdout)["reason"]
    assert ended.stderr == ""


def test_a_port_in_use_ends_the_start_with_1(demo: Demo, tmp_path: Path) -> None:
    port = demo.url.rpartition(":")[2]
    environment = {**os.environ, "DATA_DIR": str(tmp_path), "DISCORD_PORT": port, "SMTP_PORT": "0"}
    ended = subprocess.run([sys.executable, "-m", "demo"], cwd=ROOT, env=environment, capture_output=True, timeout=5)
    assert ended.returncode == 1
    assert json.loads(ended.stdout)["event"] == "demo.cannot_start"
