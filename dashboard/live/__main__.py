"""Runs the live process, which serves the streams: `python -m dashboard.live PORT`."""

import sys

from common.http_server import serve
from dashboard.live.stream import application

if __name__ == "__main__":
    serve(application, port=int(sys.argv[1]))
