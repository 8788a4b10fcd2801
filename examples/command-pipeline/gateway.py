"""Checks what sensors send; has two of three reports compressed by the worker and answers how large they became."""

import hashlib
import http.client
import itertools
import os
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

WORKER = urlsplit(sys.argv[1])
numbers = itertools.count()
own = threading.local()


def ask_worker(body: bytes) -> bytes:
    """Each thread keeps a connection of its own to the worker."""
    if not hasattr(own, "connection"):
        own.connection = http.client.HTTPConnection(WORKER.hostname or "", WORKER.port, timeout=30)
    own.connection.request("POST", "/", body)
    return own.connection.getresponse().read()


class Handler(BaseHTTPRequestHandler):
    """One connection; each has a thread of its own."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        digest = hashlib.pbkdf2_hmac("sha256", body, b"salt", 4000)
        packed = ask_worker(body) if next(numbers) % 3 else b""
        answer = f"{digest.hex()} {len(packed)}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    ThreadingHTTPServer((os.environ["ESTRAN_ADDRESS"], 8000), Handler).serve_forever()
