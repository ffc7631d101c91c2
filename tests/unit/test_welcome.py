"""What a person reads when everything is ready."""

from launcher import environment
from launcher.welcome import FIRST_RUN, welcome


def test_start_speaks_of_a_first_admin_only_while_there_is_none(tmp_path):
    asked = environment.read({"DATA_DIR": str(tmp_path), "DEMO": "0"})
    assert "first_admin" not in "\n".join(welcome(asked))
    assert (
        f"Gateway (API)  http://127.0.0.1:{asked.ports['GATEWAY_PORT']}"
        in "\n".join(welcome(asked))
    )
    (tmp_path / FIRST_RUN).touch()
    assert "first_admin" in "\n".join(welcome(asked))
