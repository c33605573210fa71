"""An endpoint elsewhere whose model says whatever a test wants, as OpenAI's API streams it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from kajiya.core.workspace import Workspace
from kajiya.inference.remotes import Remote, add_remote


@contextmanager
def speaking(workspace: Workspace, name: str, *pieces: str) -> Iterator[None]:
    """While the block runs, `remote:NAME` of this workspace answers every conversation with `pieces`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            for piece in (*pieces, None):
                choice = {"index": 0, "delta": {"content": piece} if piece else {}}
                choice["finish_reason"] = None if piece else "stop"
                chunk = {"id": "x", "object": "chat.completion.chunk", "choices": [choice]}
                self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
                self.wfile.flush()
            self.wfile.write(b"data: [DONE]\n\n")

        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/v1"
    add_remote(name, Remote.checked({"url": url, "model": "x", "context_length": 4096}), workspace)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
