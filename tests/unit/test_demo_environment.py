"""What the demo needs in its environment, and how it says what is wrong."""

import pytest

from demo.environment import BadEnvironment, read_environment

GOOD = {"DATA_DIR": "var", "DISCORD_PORT": "0", "SMTP_PORT": "8025"}


@pytest.mark.parametrize("name", GOOD)
def test_a_missing_variable_is_named(name: str) -> None:
    with pytest.raises(BadEnvironment, match=name):
        read_environment({key: value for key, value in GOOD.items() if key != name})


@pytest.mark.parametrize("port", ["-1", "70000", "x", "²"])
def test_a_port_that_is_none_is_named(port: str) -> None:
    with pytest.raises(BadEnvironment, match="SMTP_PORT"):
        read_environment({**GOOD, "SMTP_PORT": port})


def test_a_quiet_demo_has_an_agent_that_writes_nothing() -> None:
    assert read_environment(GOOD).agent_writes
    assert not read_environment({**GOOD, "DEMO": "quiet"}).agent_writes
