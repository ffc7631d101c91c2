"""Runs the process of the live streams: `python -m dashboard.live PORT`."""

import asyncio
import contextlib
import sys
from types import FrameType

import uvicorn

from common.heartbeat import beat
from dashboard.live.stream import LiveConnection, application


class LiveServer(uvicorn.Server):  # type: ignore[misc]
    """Wakes up once a second, and at once after a signal; uvicorn's own looks ten times
    a second whether to end.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ending = asyncio.Event()
        # None until it serves: a signal before that is seen at the first look.
        self._loop: asyncio.AbstractEventLoop | None = None

    async def main_loop(self) -> None:
        """Serve until asked to end."""
        self._loop = asyncio.get_running_loop()
        # 0: the second is over for which it has prepared the Date header.
        while not await self.on_tick(0):
            beat()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), 1)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Note the signal, and wake up."""
        super().handle_exit(sig, frame)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._ending.set)


def main(port: str) -> None:
    """Serve the streams on this port of the loopback interface until a signal comes."""
    config = uvicorn.Config(
        application,
        host="127.0.0.1",
        port=int(port),
        http=LiveConnection,
        ws="none",
        timeout_graceful_shutdown=1,
        access_log=False,
        log_level="warning",
    )
    LiveServer(config).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
