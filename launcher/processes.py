"""The table of our processes: what each runs, for which product, and how to check that
it is ready.
"""

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

from launcher.environment import Environment
from launcher.paths import PYTHON

# So many calls to MultiMail at once: 20 decisions a second of one account, each with a
# read, and room for the others; and beside them so many destinations of alerts, which
# never take a decision's place.
DESK_THREADS = 12
ALERT_THREADS = 6
# One message after the other: the mail server is the limit.
GATEWAY_THREADS = 1
# Within which the headers of a request must be complete, and for which a connection may
# be idle.
HEADER_SECONDS = 30
# Of one web process; more wait until one ends.
MOST_CONNECTIONS = 2048

# A process with many requests answers late; killing it would not help.
_LATE_SECONDS = 10


@dataclass(frozen=True, kw_only=True)
class Check:
    """What has to answer: a path with status 200, or without a path just a listening
    port.

    Plain sockets, because an HTTP library would double the launcher's memory.
    """

    port: int
    path: str = ""
    host: str = "127.0.0.1"

    def passes(self) -> bool:
        """Runs the check once."""
        return self._ask() == 200

    def is_silent(self) -> bool:
        """Whether there is no response at all. "Not ready" is a response, because
        another process may be the cause.
        """
        return self._ask(timeout=_LATE_SECONDS) == 0

    def _ask(self, *, timeout: float = 2) -> int:
        try:
            with socket.create_connection(
                (self.host, self.port), timeout=timeout
            ) as client:
                if not self.path:
                    return 200
                request = (
                    f"GET {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
                    "Connection: close\r\n\r\n"
                )
                client.sendall(request.encode())
                # "HTTP/1.1 200" is twelve bytes; they may come in pieces.
                answer = b""
                while len(answer) < 12 and (part := client.recv(4096)):
                    answer += part
                is_http = answer.startswith(b"HTTP/")
                return int(answer.split(b" ")[1][:3]) if is_http else 0
        except (OSError, ValueError):
            return 0


@dataclass(frozen=True, kw_only=True)
class Process:
    """One row of the table."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    # Whether its work loop writes a heartbeat (common.heartbeat).
    has_heartbeat: bool = False


def table(environment: Environment) -> list[Process]:
    """The processes of this product, in the order in which they start."""
    product = environment.product
    ports = environment.ports
    processes = []
    if product != "gateway":
        live = ports["LIVE_PORT"]
        queues = "decisions,sync,alerts"
        threads = DESK_THREADS + ALERT_THREADS
        processes += [
            http("web", port=ports["PORT"], serve="dashboard", path="/readyz"),
            Process(
                name="live",
                command=(str(PYTHON), "-m", "dashboard.live", str(live)),
                checks=(Check(port=live, path="/live/health"),),
                has_heartbeat=True,
            ),
            # One worker of each product beats.
            worker("worker-desk", queues=queues, beat=product, threads=threads),
        ]
    if product != "dashboard":
        processes.append(
            http("gateway", port=ports["GATEWAY_PORT"], serve="gateway", path="/health")
        )
        beat = product if product == "gateway" else ""
        # Linux takes the address of all interfaces for this machine's own.
        host = environment.variables["INBOUND_HOST"]
        inbound = Check(port=ports["INBOUND_PORT"], host=host)
        processes.append(
            worker(
                "worker-out",
                queues="gateway",
                beat=beat,
                threads=GATEWAY_THREADS,
                inbound=inbound,
            )
        )
    if environment.demo != "0":
        checks = (Check(port=ports["DISCORD_PORT"]), Check(port=ports["SMTP_PORT"]))
        processes.append(
            Process(name="demo", command=(str(PYTHON), "-m", "demo"), checks=checks)
        )
    return processes


def http(name: str, *, port: int, serve: str, path: str) -> Process:
    """A web process, answering what `serve` says."""
    command = (
        str(PYTHON),
        "-m",
        "granian",
        "--interface=asginl",
        "--host=127.0.0.1",
        f"--port={port}",
        # HTTP/2 has no limit on how slowly headers may come, and no proxy needs it on
        # this side.
        "--http=1",
        "--no-ws",
        f"--http1-header-read-timeout={HEADER_SECONDS * 1000}",
        # Headers are kept in memory until they are complete.
        "--http1-buffer-size=65536",
        f"--backpressure={MOST_CONNECTIONS}",
        "--workers=1",
        "--workers-kill-timeout=2",
        "--log-level=warning",
        "dashboard.asgi:application",
    )
    is_desk = serve == "dashboard"
    return Process(
        name=name,
        command=command,
        # The parser keeps a place for the people who look at pages.
        environment={"SERVE": serve} | ({"PARSER_LANE": "pages"} if is_desk else {}),
        checks=(Check(port=port, path=path),),
        has_heartbeat=True,
    )


def worker(
    name: str, *, queues: str, beat: str, threads: int, inbound: Check | None = None
) -> Process:
    """A worker of these queues, with so many threads for tasks; `beat`: the product it
    beats for.

    With `inbound` it is the gateway's, and takes mail in too; else it is the desk's.
    """
    return Process(
        name=name,
        command=(str(PYTHON), "-m", "dashboard.worker", name, queues, str(threads)),
        # Celery's look at all pages and forms would keep them in memory, and `prepare`
        # has done it.
        environment={
            "SERVE": "gateway" if inbound else "dashboard",
            "CELERY_SKIP_CHECKS": "1",
        }
        | ({"BEAT": beat} if beat else {})
        | ({"INBOUND": "1"} if inbound else {}),
        checks=(inbound,) if inbound else (),
        has_heartbeat=True,
    )
