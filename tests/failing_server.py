"""A web server on this machine that serves a folder in byte ranges and fails when it is told to."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HANG = -1
"""In place of a status: no answer for some seconds, then a closed connection."""
SECONDS = 3
Fault = Callable[[int], int]
"""From a request's number, counted from 1, to the status that it fails with, 0 for none, or HANG."""


@contextmanager
def serving(folder: Path, fault: Fault = lambda _: 0) -> Iterator[str]:
    """Serve a folder; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        requests = 0

        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, *, with_body: bool) -> None:
            type(self).requests += 1
            status = fault(self.requests)
            path = folder / self.path.lstrip("/")
            if status == HANG:
                time.sleep(SECONDS)
                self.close_connection = True
                return
            if status or not path.is_file():
                self.told(status or 404, {"Content-Length": "0"})
                return
            data = path.read_bytes()
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
            first, last = (int(asked[1]), int(asked[2] or len(data) - 1)) if asked else (0, len(data) - 1)
            body = data[first : last + 1]
            place = {"Content-Range": f"bytes {first}-{first + len(body) - 1}/{len(data)}"} if asked else {}
            self.told(206 if asked else 200, {"Accept-Ranges": "bytes", "Content-Length": str(len(body)), **place})
            if with_body:
                self.wfile.write(body)

        def told(self, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
