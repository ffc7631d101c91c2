"""Waiting for signals. A request to stop is raised only where the launcher pauses."""

import contextlib
import os
import select
import signal
from collections.abc import Iterator
from types import FrameType

_STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequested(Exception):
    """A signal asked the launcher to stop; raised only at places where stopping is
    safe.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f"signal {signum}")
        self.signum = signum


class Signals:
    """The signals of one launcher."""

    def __init__(self) -> None:
        self.requested: int | None = None
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """While the block runs, a request to stop is noted, and the end of a child
        wakes the launcher up.
        """
        # Under nohup a hang-up is ignored already, and stays so.
        wanted = [
            s
            for s in (*_STOP, signal.SIGCHLD)
            if (s, signal.getsignal(s)) != (signal.SIGHUP, signal.SIG_IGN)
        ]
        before = {signum: signal.signal(signum, self._note) for signum in wanted}
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)
            for signum, handler in before.items():
                signal.signal(signum, handler)

    def pause(self, seconds: float) -> None:
        """Waits until something happens or the time is over; raises StopRequested when
        it should end.
        """
        if self.requested is None:
            select.select([self._read], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            while os.read(self._read, 512):
                pass
        if self.requested is not None:
            raise StopRequested(self.requested)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if signum in _STOP and self.requested is None:
            self.requested = signum
