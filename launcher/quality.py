"""`./run check` and `./run test`: the checks and tests that a change has to pass, and
the tools that they need.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from launcher import environment, keys
from launcher.bootstrap import install_debian_packages
from launcher.console import LaunchError, say
from launcher.paths import MANAGE, PYTHON, ROOT, VENV
from launcher.postgres import temporary_servers

# The tests that run without --all, as a pytest marker expression.
_FAST = "not slow and not soak"
# Chromium without windows and menus, which would take half of the processor time.
_SHELL = "chromium-headless-shell"
_CHROMIUM = (
    _SHELL,
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)
_RUFF = (str(PYTHON), "-m", "ruff")
# The command of each check, the longest first. It prints what is wrong, and fails then.
CHECKS: dict[str, Sequence[str]] = {
    "mypy": (str(PYTHON), "-m", "mypy"),
    "imports": ("lint-imports",),
    "format": (*_RUFF, "format", "--check", "--output-format=concise", "."),
    "templates": ("djangofmt", "--check", "templates", "demo/assets"),
    # Style sheets and scripts, in the form that CONTRIBUTING.md names.
    "assets": (
        *"deno fmt --check --no-config --line-width=120".split(),
        *"static/**/*.css static/**/*.js demo/assets/*.css demo/assets/*.js".split(),
        *"tests/browser/*.js tests/judge/*.js".split(),
    ),
    "lint": (*_RUFF, "check", "--output-format=concise", "."),
    "migrations": (*MANAGE, "makemigrations", "--check", "--dry-run"),
    "deploy": (*MANAGE, "check", "--deploy", "--fail-level", "WARNING"),
}


def check(arguments: list[str]) -> int:
    """Runs all checks, even if one fails: two at a time, the longest first."""
    if arguments:
        raise LaunchError(f"./run check does not know {arguments[0]!r}.", status=2)
    started = time.monotonic()
    with temporary_servers() as servers, ThreadPoolExecutor(max_workers=2) as pool:
        variables = variables_of_checks(servers.variables())
        results = list(pool.map(lambda name: _report(name, variables), CHECKS))
    say(
        f"{sum(results)} of {len(results)} checks hold ({time.monotonic() - started:.0f} s)"
    )
    return 0 if all(results) else 1


def test(arguments: list[str]) -> int:
    """Runs the tests, which include the checks. With arguments for pytest, runs only
    the tests that these choose. The last line of the output is pytest's summary.
    """
    chosen = [argument for argument in arguments if argument != "--all"]
    # If these cannot be installed, some tests are skipped and say why; the others run.
    # The fonts are needed because a bare machine has none, and would draw only boxes.
    packages = [_SHELL, "fonts-dejavu-core", "fonts-noto-color-emoji"]
    if not (
        shutil.which(_SHELL) or install_debian_packages(packages) or find_chromium()
    ):
        say(
            "Chromium is missing, so the browser tests will be skipped: install the package "
            f"{_SHELL} (Debian: apt install {_SHELL}) and run again."
        )
    if not (
        has_spin()
        or (install_debian_packages(["spin", "gcc", "libc6-dev"]) and has_spin())
    ):
        say(
            "Spin or gcc is missing, so the model of decisions will not be checked: install the packages spin and gcc "
            "(Debian: apt install spin gcc) and run again."
        )
    # The caller's arguments come last, so that `-n 0` or another -m replaces ours.
    options = [] if "--all" in arguments else ["-m", _FAST]
    files = [one for one in chosen if (ROOT / one.partition("::")[0]).is_file()]
    # A single file is quicker in one process. Otherwise there is one process more than
    # processors, because some tests wait.
    if len(files) != 1:
        number = min((os.cpu_count() or 2) + 1, 8)
        options = ["-n", str(number), "--dist", "loadgroup", *options]
    options += chosen
    sys.stdout.flush()
    command = [str(PYTHON), "-m", "pytest", "-p", "tests.cluster", *options]
    # Bytecode is stored even if the caller's environment forbids it: otherwise every
    # test process would compile all tests again.
    variables = _environment({"PYTHONDONTWRITEBYTECODE": ""})
    return subprocess.run(command, cwd=ROOT, env=variables).returncode


def variables_of_checks(servers: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment of the checks. `servers` are the variables with the
    addresses of the servers to use. The other settings are as in a deployment, with
    https and without the demo, for Django's deployment check.
    """
    deployed = environment.read(
        {"PUBLIC_URL": "https://countersign.example.com", "DEMO": "0", **servers},
        pick=lambda _: [],
    )
    deno = {"DENO_DIR": str(VENV / "deno"), "DENO_NO_UPDATE_CHECK": "1"}
    return _environment({**deployed.variables, **keys.new_keys(), **deno})


def run(name: str, variables: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """Runs one check to its end."""
    return subprocess.run(
        CHECKS[name],
        cwd=ROOT,
        env=dict(variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


# Runs a check, prints its result, and returns whether it passed.
def _report(name: str, variables: Mapping[str, str]) -> bool:
    started = time.monotonic()
    result = run(name, variables)
    holds = result.returncode == 0
    if not holds:
        say(result.stdout.rstrip())
    say(
        f"{'ok    ' if holds else 'FAILED'}  {name:<12} {time.monotonic() - started:5.1f} s"
    )
    return holds


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Returns the caller's environment without settings for the product and for Django,
    and with these variables. The programs of the virtual environment come first on the
    path.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in environment.PRODUCT_VARIABLES and not name.startswith("DJANGO_")
    }
    path = f"{VENV / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**inherited, "PATH": path, **variables}


def find_chromium() -> str | None:
    """Returns the path of the browser, or None if none is installed."""
    return next((path for name in _CHROMIUM if (path := shutil.which(name))), None)


def has_spin() -> bool:
    """Whether the model of decisions can be checked. That needs Spin, which writes a C
    program that visits every state, and gcc, which compiles it.
    """
    return all(shutil.which(name) for name in ("spin", "gcc"))
