"""The servers of one data folder, as one thing: which are needed, their addresses,
their order.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from launcher.embedded import EmbeddedServer, socket_folder
from launcher.environment import Environment
from launcher.parser import Parser
from launcher.postgres import OWNER, Postgres
from launcher.redis import Redis


class Servers:
    """PostgreSQL and Redis, as far as they are not given from outside, and the parser."""

    def __init__(
        self,
        *,
        data: Path,
        database: bool = True,
        redis: bool = True,
        durable: bool = True,
    ) -> None:
        sockets = socket_folder(data)
        logs = log_folder(data)
        self.postgres: Postgres | None = None
        self.redis: Redis | None = None
        if database:
            self.postgres = Postgres(
                data=data / "postgres",
                sockets=sockets,
                log=logs / "postgres.log",
                durable=durable,
            )
        if redis:
            self.redis = Redis(
                data=data / "redis",
                sockets=sockets,
                log=logs / "redis.log",
                durable=durable,
            )
        self.parser = Parser(sockets=sockets, log=logs / "parser.log")

    @classmethod
    def of(cls, environment: Environment) -> "Servers":
        """Those that this environment does not bring along."""
        return cls(
            data=environment.data,
            database=environment.own_database,
            redis=environment.own_redis,
        )

    @property
    def all(self) -> list[EmbeddedServer]:
        """In the order in which they start."""
        return [server for server in (self.postgres, self.redis, self.parser) if server]

    def start(self) -> None:
        """Returns when all accept connections."""
        for server in self.all:
            server.start()

    def stop(self) -> None:
        """PostgreSQL first: a client that finds one of the others gone waits for it."""
        for server in self.all:
            server.stop()

    def variables(self) -> dict[str, str]:
        """Their addresses, as the environment variables that everything of ours reads."""
        variables = {"PARSER_SOCKET": str(self.parser.socket)}
        if self.postgres:
            variables |= {
                "DATABASE_URL": self.postgres.url(),
                "DATABASE_OWNER_URL": self.postgres.url(OWNER),
            }
        if self.redis:
            variables["REDIS_URL"] = self.redis.url()
        return variables


def log_folder(data: Path) -> Path:
    """DATA_DIR/log, for the owner only."""
    folder = data / "log"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@contextlib.contextmanager
def temporary_servers() -> Iterator[Servers]:
    """Servers in a temporary folder, quick because nothing in them has to last. For
    tests and checks only.
    """
    with tempfile.TemporaryDirectory(
        prefix="countersign-", ignore_cleanup_errors=True
    ) as folder:
        servers = Servers(data=Path(folder), durable=False)
        try:
            servers.start()
            yield servers
        finally:
            servers.stop()
