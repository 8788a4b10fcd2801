"""Compresses what it is sent in many ways, which takes some milliseconds of a processor, and answers with the shortest result."""

import itertools
import os
import socket
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STRATEGIES = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_FIXED)


def compress(body: bytes, level: int, strategy: int) -> bytes:
    """One of the ways."""
    way = zlib.compressobj(level, strategy=strategy)
    return way.compress(body) + way.flush()


class Handler(BaseHTTPRequestHandler):
    """One connection; each has a thread of its own."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body of an answer in one piece

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        packed = min((compress(body, *way) for way in itertools.product(range(1, 10), STRATEGIES)), key=len)
        self.send_response(200)
        self.send_header("Content-Length", str(len(packed)))
        self.end_headers()
        self.wfile.write(packed)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    ThreadingHTTPServer((os.environ["ESTRAN_ADDRESS"], 8001), Handler).serve_forever()
