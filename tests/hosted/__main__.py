"""Serves the stand-in by hand, until it is stopped."""

import argparse
from http.server import ThreadingHTTPServer

from tests.hosted.host import SCOPES, Host
from tests.hosted.running import handler
from tests.hosted.temper import TEMPERS


def main():
    """Print the address and the keys, and serve."""
    parser = argparse.ArgumentParser(prog="python -m tests.hosted", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 is a free one")
    parser.add_argument("--temper", choices=TEMPERS, default="lenient")
    options = parser.parse_args()
    host = Host(options.temper)
    server = ThreadingHTTPServer(("127.0.0.1", options.port), handler(host))
    print(f"http://127.0.0.1:{server.server_port}", *SCOPES, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
