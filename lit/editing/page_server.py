"""The editing page over HTTP, by Python's own server: for one person, on this machine."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from datamodules.errors import InputError
from lit.editing.page_requests import Answer, EditingPage

LARGEST = 1 << 20  # bytes of a request
DRAINED = 64 << 20  # bytes that are read of a request that is too large, so that its sender hears why
LOOPBACK = ("127.0.0.1", "localhost", "::1")
POLICY = "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'"


class PageServer(ThreadingHTTPServer):
    """Serves a page until :meth:`shutdown`.

    On a loopback address only requests that name such a host are answered, and changes only when they come as JSON,
    which no other site's page can send: nobody who has this page open draws by visiting another.

    Args:
        page: answers.
        host: address to listen on.
        port: 0 takes a free one.

    Raises:
        InputError: the address is taken or not this machine's.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, page: EditingPage, host: str = "127.0.0.1", port: int = 0) -> None:
        self.page, self.host = page, host
        try:
            super().__init__((host, port), PageHandler)
        except (OSError, OverflowError) as error:
            raise InputError(f"--host {host} --port {port}: {error}; choose another, port 0 takes a free one") from None

    @property
    def address(self) -> str:
        """Where a browser finds the page."""
        return f"http://{self.host}:{self.server_port}/"


class PageHandler(BaseHTTPRequestHandler):
    """One request."""

    server: PageServer
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        self._send(self._refusal() or self.server.page.answer("GET", self.path))

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        size = int(length) if length.isdecimal() and len(length) < 20 else None
        if size is None or size > LARGEST:
            self.close_connection = True
            self._send(refused(413, f"a request of {size or 'unknown'} bytes: expected at most {LARGEST}"))
            self._drain(min(size or 0, DRAINED))
            return
        body = self.rfile.read(size)
        if self.headers.get_content_type() != "application/json":
            self._send(refused(415, "expected application/json"))
            return
        self._send(self._refusal() or self.server.page.answer("POST", self.path, body))

    def _drain(self, length: int) -> None:
        """Read what is still being sent: closed with bytes unread, a connection loses the answer on its way."""
        self.wfile.flush()
        while length > 0 and (part := self.rfile.read(min(length, LARGEST))):
            length -= len(part)

    def _refusal(self) -> Answer | None:
        """The answer to a request for another host than this machine."""
        asked = self.headers.get("Host", "").rsplit(":", 1)[0].strip("[]")
        if self.server.host in LOOPBACK and asked not in LOOPBACK:
            return refused(403, "expected a request for this machine")
        return None

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        headers = {"Content-Type": answer.media, "Content-Length": str(len(answer.body)), "Cache-Control": "no-store"}
        headers |= {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
        for name, value in headers.items():
            self.send_header(name, value)
        try:
            self.end_headers()
            self.wfile.write(answer.body)
        except ConnectionError:  # nobody waits for it any more
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet: a turning view asks many times a second."""


def refused(status: int, why: str) -> Answer:
    """A response that says why there is none."""
    return Answer(status, "application/json", json.dumps({"error": why}).encode())
