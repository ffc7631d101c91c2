"""The commands of the documentation do what it says: each block is run against the product."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = [
    pytest.param(language, code, id=f"{path.stem}-{number}")
    for path in (ROOT / "README.md", ROOT / "docs" / "bot-developers.md")
    for number, (language, code) in enumerate(re.findall(r"```(sh|python)\n(.*?)```", path.read_text(), re.S), 1)
]


@pytest.mark.parametrize(("language", "code"), BLOCKS)
def test_command_of_the_documentation_works(product, language, code):
    product.send()
    code = code.replace("var/credentials.env", str(product.stack.data / "credentials.env"))
    command = ["sh", "-euc", code] if language == "sh" else [sys.executable, "-W", "ignore", "-c", code]
    ran = subprocess.run(
        command, capture_output=True, text=True, timeout=30, env={**os.environ, **product.known}, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "pending" in ran.stdout
    assert '"error"' not in ran.stdout


def test_every_link_between_documents_leads_somewhere():
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
