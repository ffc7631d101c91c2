"""The files for the forge and for contributors' tools: they can be read, they name what
exists, and the check of commit subjects refuses long ones.
"""

import json
import re
import subprocess

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


def test_subjects_of_a_range_are_checked_without_those_before_it_and_merges(tmp_path):
    identity = ["-c", "user.name=Ana", "-c", "user.email=ana@countersign.test"]

    def git(*arguments):
        subprocess.run(
            ["git", "-C", str(tmp_path), *identity, *arguments], check=True, text=True
        )

    def commit(message):
        git("commit", "--quiet", "--allow-empty", f"--message={message}")

    def check(commits):
        return run_command([COMMITS, commits], cwd=tmp_path)

    git("init", "--quiet", "--initial-branch=main")
    commit("old: " + "a" * 80)
    git("branch", "before")
    commit("area: Say what is new")
    git("checkout", "--quiet", "-b", "side", "before")
    commit("area: Another thing")
    git("merge", "--quiet", "--no-ff", "main", f"--message=Merge {'f' * 80}")
    assert check("before..side").returncode == 0
    commit("area: " + "b" * 80)
    result = check("before..side")
    assert result.returncode == 1
    assert "86 characters" in result.stderr
    assert "old: " not in result.stderr
    assert check("main..nowhere").returncode != 0
    assert check("side..before").returncode == 0
