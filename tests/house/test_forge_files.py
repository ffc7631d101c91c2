"""The files for the forge and for contributors' tools: they can be read, they name what
exists, and the check of commit subjects refuses long ones.
"""

import json
import re

import pytest
import yaml

from launcher.paths import ROOT
from tests.commands import run_command

GITHUB = ROOT / ".github"
COMMITS = ROOT / ".ci/commits"


def test_forge_files_can_be_read_and_name_files_that_exist():
    texts = [*GITHUB.rglob("*.yml"), ROOT / ".pre-commit-config.yaml"]
    assert len(texts) >= 6
    for path in texts:
        assert yaml.safe_load(path.read_text()), path.name
        for name in re.findall(
            r"(?<![\w/])\.ci/\w+|tests/[\w/]+\.py", path.read_text()
        ):
            assert (ROOT / name).is_file(), f"{path.name}: {name}"
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
    assert 8000 in container["forwardPorts"]


def test_workflow_tests_each_python_that_the_readme_promises():
    workflow = yaml.safe_load((GITHUB / "workflows/test.yml").read_text())
    versions = workflow["jobs"]["tests"]["strategy"]["matrix"]["python"]
    assert (
        f"Python {', '.join(versions[:-1])} or {versions[-1]}"
        in (ROOT / "README.md").read_text()
    )


def check_subject(message, tmp_path):
    path = tmp_path / "COMMIT_EDITMSG"
    path.write_text(message)
    return run_command([COMMITS, path])


@pytest.mark.parametrize(
    ("message", "is_accepted"),
    [
        ("a" * 72, True),
        ("a" * 73, False),
        # Characters count, not bytes.
        ("é" * 72 + "\n", True),
        ("é" * 73 + "\n", False),
        ("short\n\n" + "a" * 200 + "\n", True),
        ("\n# a comment of git's, " + "a" * 80 + "\nshort\n", True),
        ("\n# a comment\n\n" + "a" * 73 + "\n", False),
    ],
)
def test_subject_of_a_message_has_at_most_72_characters(message, is_accepted, tmp_path):
    result = check_subject(message, tmp_path)
    assert (result.returncode == 0) == is_accepted, result.stderr
    assert ("73 characters" in result.stderr) == (not is_accepted)
