"""Runs the live process, which serves the streams: `python -m dashboard.live PORT`."""

import sys

import uvicorn

from dashboard.live.stream import LiveConnection, application


def main(port: str) -> None:
    """Serve the streams on this port of the loopback interface, until a signal ends the
    process.
    """
    uvicorn.run(
        application,
        host="127.0.0.1",
        port=int(port),
        http=LiveConnection,
        ws="none",
        timeout_graceful_shutdown=1,
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
