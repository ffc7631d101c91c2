"""The command that makes a release: the same files from every clone of a commit, and
what it refuses.
"""

import hashlib
import json
import os
import re
import shutil
import tarfile

import pytest

from common.version import product_build, product_commit, product_version
from launcher.paths import ROOT
from tests.commands import run_command

VERSION = "77.1.0"
LOCKED = ("requirements.txt", "requirements-servers.txt", "requirements-bootstrap.txt")
MIGRATION = "people/migrations/0001_initial.py"
RECORD = "tests/releases/migrations.sha256"
RECORDED = (
    f"{hashlib.sha256((ROOT / MIGRATION).read_bytes()).hexdigest()}  {MIGRATION}\n"
)


def git(folder, *arguments):
    variables = {name: text for name, text in os.environ.items() if name[:4] != "GIT_"}
    identity = ["-c", "user.name=Release", "-c", "user.email=release@countersign.test"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    result = run_command(command, env=variables)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def commit(folder):
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=Change")


def release(folder, *arguments, umask=0o022, **variables):
    identity = {
        f"GIT_{role}_{key}": text
        for role in ("AUTHOR", "COMMITTER")
        for key, text in (("NAME", "Release"), ("EMAIL", "release@countersign.test"))
    }
    return run_command(
        [folder / ".ci/release", *arguments],
        env={**os.environ, **identity, **variables},
        umask=umask,
    )


def replace(folder, name, old, new):
    path = folder / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.fixture
def clone(tmp_path):
    """A small repository with what the command uses of this one."""
    folder = tmp_path / "first"
    names = (
        *(".ci/release", ".gitignore", ".gitattributes", "pyproject.toml"),
        *("CHANGELOG.md", "docs/releases.md", "common/commit.txt"),
        *LOCKED,
        MIGRATION,
    )
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / RECORD).parent.mkdir(parents=True)
    (folder / RECORD).write_text(RECORDED)
    project = folder / "pyproject.toml"
    project.write_text(
        re.sub("(?m)^version = .*", f'version = "{VERSION}"', project.read_text())
    )
    replace(folder, "CHANGELOG.md", "## Unreleased", f"## {VERSION} - 2031-01-31")
    git(folder, "init", "--quiet")
    commit(folder)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    return folder


def refusal(folder, *arguments):
    result = release(folder, *arguments)
    assert result.returncode == 1, result.stdout + result.stderr
    assert result.stdout == ""
    (sentence,) = result.stderr.splitlines()
    assert sentence.startswith("No release: ")
    assert not list((folder / "dist").glob("*"))
    return sentence


@pytest.mark.slow
def test_release_has_the_same_bytes_from_two_clones(clone, tmp_path):
    second = tmp_path / "another place" / "second"
    git(tmp_path, "clone", "--quiet", str(clone), str(second))
    (second / ".venv").symlink_to(ROOT / ".venv")
    git(second, "config", "tar.umask", "0077")

    first_result = release(clone)
    surroundings = {
        "TZ": "Asia/Tokyo",
        "LC_ALL": "C.UTF-8",
        "SOURCE_DATE_EPOCH": "1000000000",
    }
    second_result = release(second, "build", umask=0o077, **surroundings)
    assert first_result.returncode == 0, first_result.stderr
    assert second_result.returncode == 0, second_result.stderr

    files = {path.name: path.read_bytes() for path in (clone / "dist").iterdir()}
    archive, components = (
        f"countersign-{VERSION}.tar.gz",
        f"countersign-{VERSION}.cdx.json",
    )
    assert sorted(files) == sorted(["SHA256SUMS", archive, components])
    assert files == {
        path.name: path.read_bytes() for path in (second / "dist").iterdir()
    }

    sums = dict(
        line.split()[::-1] for line in files["SHA256SUMS"].decode().splitlines()
    )
    assert sums == {
        name: hashlib.sha256(files[name]).hexdigest() for name in (archive, components)
    }
    with tarfile.open(clone / "dist" / archive) as source:
        paths = {member.name for member in source if member.isfile()}
        written = source.extractfile(f"countersign-{VERSION}/common/commit.txt")
        assert written.read().decode().strip() == git(clone, "rev-parse", "HEAD")
    tracked = git(clone, "ls-files").splitlines()
    assert paths == {f"countersign-{VERSION}/{name}" for name in tracked}

    # Only the first call tagged: with the notes, and on the commit.
    assert git(second, "tag") == ""
    assert git(clone, "cat-file", "-t", f"v{VERSION}") == "tag"
    assert git(clone, "rev-parse", f"v{VERSION}^{{}}") == git(
        clone, "rev-parse", "HEAD"
    )
    message = git(clone, "tag", "--list", "--format=%(contents)", f"v{VERSION}")
    notes = release(clone, "notes").stdout
    assert message == f"Countersign {VERSION}\n{notes}".strip()
    assert "\n### Added\n" in notes

    # A second call finds its own tag, and makes the same files again.
    assert release(clone).returncode == 0
    assert files == {
        path.name: path.read_bytes() for path in (clone / "dist").iterdir()
    }


@pytest.mark.slow
def test_list_of_components_has_each_locked_package_and_no_time(clone):
    assert release(clone, "build").returncode == 0
    listed = json.loads((clone / f"dist/countersign-{VERSION}.cdx.json").read_text())
    pinned = {
        found
        for name in LOCKED
        for found in re.findall(
            r"^([\w.-]+)==([\w.+-]+)", (ROOT / name).read_text(), re.M
        )
    }
    assert {(one["name"], one["version"]) for one in listed["components"]} == pinned
    assert listed["bomFormat"] == "CycloneDX"
    assert listed["metadata"]["component"]["version"] == VERSION
    assert "timestamp" not in listed["metadata"]
    assert "serialNumber" not in listed


def test_release_of_a_changed_tree_is_refused(clone):
    (clone / "left.txt").write_text("not committed\n")
    assert "working tree has changes" in refusal(clone)


def test_release_without_a_section_in_the_changelog_is_refused(clone):
    replace(clone, "CHANGELOG.md", f"## {VERSION} - ", f"## {VERSION}1 - ")
    commit(clone)
    assert f'no section "## {VERSION} - <date>"' in refusal(clone)


def test_release_of_a_version_that_is_one_already_or_none_is_refused(clone):
    replace(clone, "docs/releases.md", "| 1.0.0 |", f"| {VERSION} |")
    commit(clone)
    assert f"docs/releases.md has {VERSION} already" in refusal(clone)
    replace(clone, "pyproject.toml", f'"{VERSION}"', f'"{VERSION}.dev0"')
    commit(clone)
    assert "is between two releases" in refusal(clone, "build")


def test_what_runs_says_its_commit():
    assert product_commit() == git(ROOT, "rev-parse", "HEAD")
    assert product_build() == f"{product_version()} ({product_commit()[:12]})"


def test_release_whose_tag_is_on_another_commit_is_refused(clone):
    git(clone, "tag", f"v{VERSION}")
    (clone / "more.txt").write_text("after the release\n")
    commit(clone)
    assert f"tag v{VERSION} is on another commit" in refusal(clone)
    assert f"tag v{VERSION} is on another commit" in refusal(clone, "build")


def test_unknown_part_of_a_release_is_refused(clone):
    assert "knows build and notes, not bulid" in refusal(clone, "bulid")


def test_release_records_migrations_and_refuses_edited_ones(clone):
    (clone / RECORD).unlink()
    commit(clone)
    assert f"commit {RECORD}" in refusal(clone)
    assert (clone / RECORD).read_text() == RECORDED
    commit(clone)

    # A new migration is recorded, and what was recorded before stays.
    (clone / MIGRATION).with_name("0002_more.py").write_text("operations = []\n")
    commit(clone)
    assert f"commit {RECORD}" in refusal(clone)
    assert (clone / RECORD).read_text().startswith(RECORDED)
    commit(clone)

    replace(clone, MIGRATION, "operations", "operations_of_another_kind")
    commit(clone)
    assert "edited or deleted after its release" in refusal(clone)
    (clone / MIGRATION).unlink()
    commit(clone)
    assert "edited or deleted after its release" in refusal(clone)
