"""What must hold after every fault, checked from outside: by the gateway's, the mail box's and the proxies' records.

The numbers are those of the fault matrix. I10 is checked where a second connection stands by (test_desk_neighbours).
"""

from tests.faults.desk_rig import DeskRig


def check_invariants(rig: DeskRig) -> None:
    """Fail with the first message of the test's own of which one does not hold."""
