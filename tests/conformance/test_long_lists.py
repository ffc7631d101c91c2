"""A pending list that is longer than what the gateway may hold in memory."""

import re
from pathlib import Path

import pytest
import requests

from tests.conformance import recipes

MEBIBYTE = 1024 * 1024


@pytest.mark.slow
def test_whole_list_of_70_megabytes_is_sent_with_little_memory(product):
    """280 messages of 260,000 characters, each twice under three names."""
    made = product.stack.run("manage", "gateway_account", "--name", "Long lists").stdout
    keys = dict(re.findall(r"^(\w+) +(mm_live_\w+)", made, re.MULTILINE))
    base = product.known["GATEWAY_URL"]

    def call(method, path, key, **options):
        headers = {"Authorization": f"Bearer {keys[key]}"}
        return requests.request(
            method, base + path, headers=headers, timeout=600, **options
        )

    body = {"to": "dana@northwind.example", "subject": "Long", "markdown": "x"}
    sent = call("POST", "/v1/send_email", "agent", json=body).json()["id"]
    recipes.copy_message(product, sent, 280, "x" * 260_000)
    process = Path("/proc", str(product.stack.pids()["gateway"]))

    def peak():
        """The most memory that it had since it was last asked."""
        found = re.search(r"VmHWM:\s+(\d+) kB", (process / "status").read_text())
        (process / "clear_refs").write_text("5")
        return int(found[1]) * 1024

    peak()
    before = peak()
    with call("GET", "/v1/oversight/pending", "oversight", stream=True) as answer:
        size = sum(len(piece) for piece in answer.iter_content(MEBIBYTE))
    assert size > 280 * 260_000 * 6
    assert peak() < before + 60 * MEBIBYTE
