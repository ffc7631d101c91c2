"""The credentials file: what is written is read back, by Python and by a shell."""

import stat

from common.credentials import read_credentials, write_credentials
from tests.commands import run_command

VALUES = {
    "A": "plain",
    "B": "with 'quotes' and $dollar",
    "C": "",
    "D": "http://127.0.0.1:8000/?a=b&c",
}


def test_credentials_come_back_as_they_were_written_also_in_a_shell(tmp_path):
    path = tmp_path / "new" / "credentials.env"
    write_credentials(path, VALUES)
    assert read_credentials(path) == VALUES
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    script = f'. {path}; printf "%s|" "$A" "$B" "$C" "$D"'
    shown = run_command(["sh", "-c", script], check=True).stdout
    assert shown.split("|")[:4] == list(VALUES.values())
