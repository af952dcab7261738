"""Run by drawing.py as a program of its own, with an empty environment and nothing of ours: Vega-Lite to PNG, Typst to PDF.

The engine of vl-convert takes 150 MB, and goes with this process. Typst reads the one document that it is given, of which the texts of a
report are data (JSON), no markup; its root is an empty folder, so that there is no file to read, and nothing can be written.
Input: one JSON object. Output: one JSON object {"png": base64 or null, "pdf": base64 or null, "log": words}.
"""

from __future__ import annotations

import base64
import json
import resource
import signal
import sys
from datetime import UTC, datetime
from typing import Any

SECONDS = 60
SCALE = 2  # a picture for screens with two dots a pixel


def png_of(spec: dict[str, Any]) -> bytes:
    import vl_convert

    return bytes(vl_convert.vegalite_to_png(spec, scale=SCALE, allowed_base_urls=[]))


def pdf_of(asked: dict[str, Any], png: bytes | None) -> bytes:
    import typst

    made = typst.compile(
        asked["document"].encode(),
        root=asked["root"],
        format="pdf",
        sys_inputs={
            "data": json.dumps(asked["data"]),
            "chart": json.dumps(list(png)) if png else "",  # Typst knows no base64
        },
        timestamp=datetime.fromtimestamp(asked["at"], UTC),
        package_path=asked["root"],
        package_cache_path=asked["root"],
    )
    return bytes(made)


def main() -> None:
    asked = json.load(sys.stdin)
    signal.alarm(SECONDS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    answer: dict[str, Any] = {"png": None, "pdf": None, "log": ""}
    png = None
    try:
        if asked["chart"]:
            png = png_of(asked["chart"])
            answer["png"] = base64.b64encode(png).decode()
    except (ImportError, ValueError, RuntimeError) as error:
        answer["log"] += f"chart: {error}"[:500]
    try:
        answer["pdf"] = base64.b64encode(pdf_of(asked, png)).decode()
    except (ImportError, ValueError, RuntimeError, OSError) as error:
        answer["log"] += f" pdf: {error}"[:500]
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
