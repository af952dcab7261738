"""Record what a real exporter sends: `python recorder.py NAME -- COMMAND…` runs COMMAND against itself and keeps every request.

Each request is written as it came off the wire, byte for byte (head, chunk framing, compressed body), to recorded/NAME/NN.http,
and about.json says when, of what and by which command. COMMAND finds the address in WAYBILL and OTEL_EXPORTER_OTLP_ENDPOINT, and a
key that is none in WAYBILL_AGENT_KEY and OTEL_EXPORTER_OTLP_HEADERS. Standard library only; run by hand, see README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedReader
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).resolve().parent.parent / "recorded"
KEY = "wb_agent_recorded"


class Tee:
    """What a handler reads from, that keeps what was read."""

    def __init__(self, stream: BufferedReader) -> None:
        self.stream, self.kept = stream, bytearray()

    def read(self, size: int = -1) -> bytes:
        data = self.stream.read(size)
        self.kept += data
        return data

    def readline(self, size: int = -1) -> bytes:
        data = self.stream.readline(size)
        self.kept += data
        return data

    def close(self) -> None:
        self.stream.close()


class Recorder(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    requests: list[bytes] = []
    lock = threading.Lock()

    def setup(self) -> None:
        super().setup()
        self.rfile: Any = Tee(self.rfile)  # type: ignore[arg-type]

    def handle_one_request(self) -> None:
        self.rfile.kept.clear()
        super().handle_one_request()

    def do_POST(self) -> None:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            while size := int(self.rfile.readline().split(b";")[0], 16):
                self.rfile.read(size + 2)
            while self.rfile.readline().strip():
                pass
        else:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.lock:
            self.requests.append(bytes(self.rfile.kept))
        kind = self.headers.get("Content-Type", "")
        answer = b"" if kind == "application/x-protobuf" else b"{}"
        self.send_response(200)
        self.send_header("Content-Type", kind if kind == "application/x-protobuf" else "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


def main() -> int:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("name", help="folder below recorded/")
    ask.add_argument("--sender", required=True, help="what is recorded, with its version")
    ask.add_argument("--port", type=int, default=0)
    ask.add_argument("command", nargs="+")
    given = ask.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", given.port), Recorder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    environ = {
        **os.environ,
        "WAYBILL": address,
        "WAYBILL_AGENT_KEY": KEY,
        "OTEL_EXPORTER_OTLP_ENDPOINT": address,
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{KEY}",
    }
    code = subprocess.run(given.command, env=environ, check=False).returncode
    server.shutdown()
    folder = RECORDED / given.name
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.http"):
        old.unlink()
    for number, raw in enumerate(Recorder.requests, 1):
        (folder / f"{number:02d}.http").write_bytes(raw)
    if Recorder.requests:
        # after the last request, so that no sender's clock seems to be ahead
        about = {
            "sender": given.sender,
            "recorded_at": (datetime.now(UTC) + timedelta(seconds=1)).isoformat(timespec="seconds"),
        }
        (folder / "about.json").write_text(json.dumps(about, indent=1) + "\n")
    print(f"{given.name}: {len(Recorder.requests)} requests, {sum(map(len, Recorder.requests)):,} bytes")
    return code or (0 if Recorder.requests else 1)


if __name__ == "__main__":
    sys.exit(main())
