"""The commands of the documentation work as it says: each block is run unchanged
against the product.
"""

import json
import os
import re
import sys

import pytest

from tests.commands import run_command
from tests.conformance import recipes
from tests.conformance.recipes import ROOT

DOCUMENTS = (
    ROOT / "README.md",
    ROOT / "docs" / "bot-developers.md",
    ROOT / "docs" / "gateway.md",
)
# A block that is run, and the optional answer after it.
BLOCK = re.compile(r"```(sh|python)\n(.*?)```(?:\s*```json\n(.*?)```)?", re.S)
# One of each kind: the others run with --all.
ALWAYS = {"README-1", "bot-developers-3"}
BLOCKS = [
    pytest.param(*block, id=name, marks=[] if name in ALWAYS else [pytest.mark.slow])
    for path in DOCUMENTS
    for number, block in enumerate(BLOCK.findall(path.read_text()), 1)
    for name in [f"{path.stem}-{number}"]
]


@pytest.fixture(scope="module")
def _something_received(product):
    """A message in the inbox and a held one, for the blocks that read or answer one."""
    recipes.receive(product, "Where is my order?")
    product.send()


@pytest.mark.usefixtures("_something_received", "_no_webhook_stays")
@pytest.mark.parametrize(("language", "code", "answer"), BLOCKS)
def test_command_of_the_documentation_works(product, language, code, answer):
    code = code.replace(
        "var/credentials.env", str(product.stack.data / "credentials.env")
    )
    code = code.replace("127.0.0.1:9000", f"127.0.0.1:{product.stack.hook_port}")
    # Others may have changed the list before.
    code = code.replace('"version": 0', f'"version": {list_version(product)}')
    command = (
        ["sh", "-euc", code]
        if language == "sh"
        else [sys.executable, "-W", "ignore", "-c", code]
    )
    ran = run_command(command, env={**os.environ, **product.known})
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip()
    assert '"error"' not in ran.stdout
    if re.search(r"send_email|/send\b", code):
        assert "pending" in ran.stdout
    if answer:
        assert_shown(json.loads(answer), json.loads(ran.stdout))


def list_version(product):
    path = f"/v1/mailboxes/{product.known['MAILBOX2_ID']}/allowlist"
    return product.call(
        "GET", path, key="ADMIN_KEY", params={"kind": "restriction"}
    ).json()["version"]


@pytest.fixture
def _no_webhook_stays(product):
    """End the subscriptions that a block made, so that they receive nothing from later
    tests.
    """
    yield
    port = f":{product.stack.hook_port}/"
    for hook in product.call("GET", "/v1/webhooks", key="ADMIN_KEY").json()["webhooks"]:
        if port in hook["url"]:
            product.call("DELETE", f"/v1/webhooks/{hook['id']}", key="ADMIN_KEY")


def assert_shown(shown, real):
    """Check that the real answer has what the page shows; … stands for any text, an
    empty list for any list.
    """
    if isinstance(shown, dict):
        assert shown.keys() <= real.keys()
        for name, value in shown.items():
            assert_shown(value, real[name])
    elif shown == "…":
        assert isinstance(real, str)
        assert real
    elif shown == []:
        assert isinstance(real, list)
    else:
        assert shown == real


def test_every_link_between_documents_leads_somewhere():
    for document in [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *(ROOT / "docs").rglob("*.md"),
    ]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_page_of_errors_has_every_code_of_the_gateway_and_no_other():
    page = (ROOT / "docs" / "errors.md").read_text()
    listed = set(re.findall(r"^\| \d{3} \| `([a-z_]+)` \|", page, re.M))
    source = "".join(path.read_text() for path in (ROOT / "gateway").rglob("*.py"))
    given = set(re.findall(r'code"?(?: = |=|: )"([a-z_]+)"', source))
    assert given - listed == set()
    assert {code for code in listed if f'"{code}"' not in source} == set()
