"""The table of the product's processes: the command that each runs, for which product,
and how the launcher checks that it is ready and answers.
"""

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

from launcher.environment import Environment, refuse_used
from launcher.paths import MANAGE, PYTHON

# Threads of the desk's worker. The first number is for calls to MultiMail: 20 decisions
# a second of one account, each with a read, and room for other accounts. The second is
# for destinations of alerts, so that alerts never take a decision's thread.
DESK_THREADS = 12
ALERT_THREADS = 6
# One message after the other: the mail server is the limit.
GATEWAY_THREADS = 1

# How long to wait for an answer before a process counts as silent. Long, because a
# process with many requests answers late, and killing it would not help.
_LATE_SECONDS = 10


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check of a process: GET on its path must give status 200; without a path, the
    port must accept connections.

    It uses plain sockets, because an HTTP library would double the launcher's memory.
    """

    port: int
    path: str = ""
    host: str = "127.0.0.1"

    def passes(self) -> bool:
        """Runs the check once."""
        return self._ask() == 200

    def is_silent(self) -> bool:
        """Whether the process gives no HTTP answer. Any status counts, even "not ready",
        because another process may be the cause of that.
        """
        return self._ask(timeout=_LATE_SECONDS) == 0

    # Returns the HTTP status, 200 for an open port without a path, 0 if there is no
    # answer.
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
                return int(answer[9:12]) if answer.startswith(b"HTTP/") else 0
        except (OSError, ValueError):
            return 0


@dataclass(frozen=True, kw_only=True)
class Process:
    """One row of the table: a process that the launcher starts."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    # Whether its work loop writes a heartbeat (common.heartbeat).
    has_heartbeat: bool = False


# A Celery worker. After it come its name, its queues and its number of threads.
WORKER = (str(PYTHON), "-m", "dashboard.worker")
# Celery would run Django's system checks, which load all pages and forms into memory.
# The command `prepare` has run them.
_IN_WORKERS = {"CELERY_SKIP_CHECKS": "1"}

# Migrations, static files and demo data, which must be there before the others start.
PREPARE = Process(name="prepare", command=(*MANAGE, "prepare"))


def table(environment: Environment) -> list[Process]:
    """Returns the processes to run, in the order in which they start."""
    product = environment.product
    ports = environment.ports
    processes = []
    if product != "gateway":
        live = ports["LIVE_PORT"]
        threads = str(DESK_THREADS + ALERT_THREADS)
        processes += [
            http("web", port=ports["PORT"], serve="dashboard", path="/readyz"),
            Process(
                name="live",
                command=(str(PYTHON), "-m", "dashboard.live", str(live)),
                checks=(Check(port=live, path="/live/health"),),
                has_heartbeat=True,
            ),
            # Only this worker starts the periodic jobs (Celery beat): those of the
            # desk, and those of the gateway if it runs here too.
            Process(
                name="worker-desk",
                command=(*WORKER, "worker-desk", "decisions,sync,alerts", threads),
                environment={**_IN_WORKERS, "SERVE": "dashboard", "BEAT": product},
                has_heartbeat=True,
            ),
        ]
    if product != "dashboard":
        processes.append(
            http("gateway", port=ports["GATEWAY_PORT"], serve="gateway", path="/health")
        )
        beat = {"BEAT": product} if product == "gateway" else {}
        # It may be 0.0.0.0, all interfaces. On Linux a connection to 0.0.0.0 reaches
        # this machine.
        host = environment.variables["INBOUND_HOST"]
        processes.append(
            Process(
                name="worker-out",
                command=(*WORKER, "worker-out", "gateway", str(GATEWAY_THREADS)),
                # It also receives mail.
                environment={**_IN_WORKERS, "SERVE": "gateway", "INBOUND": "1", **beat},
                checks=(Check(port=ports["INBOUND_PORT"], host=host),),
                has_heartbeat=True,
            )
        )
    if environment.demo != "0":
        checks = (Check(port=ports["DISCORD_PORT"]), Check(port=ports["SMTP_PORT"]))
        processes.append(
            Process(name="demo", command=(str(PYTHON), "-m", "demo"), checks=checks)
        )
    return processes


def refuse_used_ports(environment: Environment, plans: list[Process]) -> None:
    """Raises LaunchError, which names the variable, if another program listens on a port
    of these processes.
    """
    needed = {check.port for plan in plans for check in plan.checks}
    refuse_used({n: port for n, port in environment.ports.items() if port in needed})


def http(name: str, *, port: int, serve: str, path: str) -> Process:
    """Returns a web process that serves one product: `serve` is dashboard or gateway."""
    command = (
        str(PYTHON),
        "-m",
        "common.http_server",
        str(port),
        "dashboard.asgi:application",
    )
    environment = {"SERVE": serve, "DATABASE_PATIENCE": "5"}
    if serve == "dashboard":
        # The parser has a socket and processes of their own for the desk's pages.
        environment["PARSER_LANE"] = "pages"
    return Process(
        name=name,
        command=command,
        environment=environment,
        checks=(Check(port=port, path=path),),
        has_heartbeat=True,
    )
