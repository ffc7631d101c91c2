"""Ports of this machine's loopback address: free ones, and whether one is taken."""

import errno
import random
import socket
from collections.abc import Mapping
from itertools import islice

from launcher.console import LaunchError

# Below the range from which Linux takes ports for outgoing connections (32768 and up):
# one found free here is not taken by a chance connection before, or while, the child
# that gets it starts again.
_FIRST = 20_000
_LAST = 32_000


def pick_free_ports(count: int) -> list[int]:
    """Free ports, all different. Nothing is held, so a child can bind them."""
    tried = random.SystemRandom().sample(range(_FIRST, _LAST), 2_000)
    chosen = list(islice(filter(is_free, tried), count))
    if len(chosen) < count:
        raise LaunchError(
            f"No free port was found between {_FIRST} and {_LAST}; set the ports yourself."
        )
    return chosen


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now. The web server shares ports, so it
    would not notice by itself.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EACCES:
                raise LaunchError(
                    f"Port {port} is reserved for root; choose one above 1023, or 0."
                ) from error
            return False
    return True


def refuse_used(ports: Mapping[str, int]) -> None:
    """Stops the start, naming the variable, when something else listens on a port that
    is needed.
    """
    for name, port in ports.items():
        if not is_free(port):
            raise LaunchError(
                f"Port {port} is used by another program. Stop it, or choose another port: {name}=0 ./run uses a free "
                f"one."
            )
