"""The command of the image, with its settings: what each process logs is printed, where
the container's runtime keeps it, and no file grows inside.
"""

import re
import subprocess
from pathlib import Path

import pytest

from launcher.paths import ROOT
from tests.supervised import supervised_in

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("launcher")]


def test_processes_print_their_logs(tmp_path):
    image = (ROOT / "deploy" / "Containerfile").read_text()
    [variable] = re.findall(r"LOG_\w+=\w+", image)
    with supervised_in(tmp_path) as supervised:
        output = tmp_path / "all.out"
        supervised.started["all"] = subprocess.Popen(
            [ROOT / "deploy" / "container", "all"],
            env=supervised.env | dict([variable.split("=")]),
            stdout=output.open("wb"),
            stderr=subprocess.STDOUT,
        )
        # Those of web, the gateway and the two workers.
        supervised.wait_for(
            lambda: output.read_text().count('"text": "started"') == 4, 120, "logs"
        )
        logs = Path(supervised.env["DATA_DIR"]) / "log"
        assert [file.name for file in logs.iterdir() if ".log" in file.name] == []
