"""A server for tests: ``server.py PLACE MANNER``; PLACE is a port or the path of a UNIX socket."""

from __future__ import annotations

import http.server
import os
import signal
import socketserver
import subprocess
import sys
import time


class Page(http.server.BaseHTTPRequestHandler):
    """Answers /200 with status 200, and so on; /slow, if that ever comes, is the last."""

    def do_GET(self) -> None:
        while self.path == "/slow":
            self.wfile.write(b"H")
            time.sleep(0.3)
        self.send_response(int(self.path.strip("/")))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Silent(socketserver.BaseRequestHandler):
    """Takes connections, and hangs up."""


def say_goodbye(*_: object) -> None:
    os.write(1, b"goodbye\n")
    sys.exit(0)


def main() -> None:
    place, manner = sys.argv[1:]
    os.write(2, os.fsencode(f"serving {place}\n"))
    if manner == "dying":
        sys.exit(3)
    if manner == "daemon" and os.fork():
        os._exit(0)
    if manner == "daemon":
        os.setsid()
    if manner == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif manner != "plain":
        signal.signal(signal.SIGTERM, say_goodbye)
    if manner == "littering":
        subprocess.Popen(["sleep", "71"])
    make = http.server.HTTPServer
    server: socketserver.BaseServer
    if place.isdigit():
        server = make(("127.0.0.1", int(place)), Page)
    else:
        server = socketserver.UnixStreamServer(place, Silent)
    if manner == "brief":
        server.handle_request()
        server.handle_request()
        return
    server.serve_forever()


main()
