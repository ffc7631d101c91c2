"""The version of the product, which stands in pyproject.toml, and the commit of its code:
between two releases the version alone does not say what runs.
"""

import logging
import os
import subprocess
import tomllib
from contextlib import suppress
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
# `git archive` and the build of an image write the commit into this file.
_WRITTEN = _ROOT / "common" / "commit.txt"


@cache
def product_version() -> str:
    """Return the product's version from pyproject.toml."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())
    return str(project["project"]["version"])


@cache
def product_commit() -> str:
    """Return the commit of the code as 40 hexadecimal digits; empty if neither a file
    nor a checkout says it.
    """
    commit = _WRITTEN.read_text().strip()
    if not commit.isalnum() and (_ROOT / ".git").exists():
        # The checkout may belong to another account.
        git = ["git", "-C", str(_ROOT), "-c", "safe.directory=*", "rev-parse", "HEAD"]
        # A hook of git sets variables that name another repository.
        env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        with suppress(OSError, subprocess.SubprocessError):
            commit = subprocess.run(
                git, env=env, capture_output=True, text=True, check=True, timeout=5
            ).stdout.strip()
    return commit if commit.isalnum() else ""


@cache
def product_build() -> str:
    """Return the version with the beginning of the commit: "1.1.0 (63ffddfc9d79)"."""
    return build_of(product_version(), product_commit())


def build_of(version: str, commit: str) -> str:
    """Return a version with the beginning of its commit, if that is known."""
    return f"{version} ({commit[:12]})" if commit else version


def is_same_build(one: str, other: str) -> bool:
    """Whether two results of `product_build` may be of the same code: a commit that is
    not known is no difference.
    """
    version, _, commit = one.partition(" ")
    other_version, _, other_commit = other.partition(" ")
    agree = commit == other_commit or not (commit and other_commit)
    return version == other_version and agree


def log_start() -> None:
    """Log what runs, when a process has started."""
    what = {"version": product_version(), "commit": product_commit()}
    logging.getLogger(__name__).info("started", extra=what)
