"""Scripts that come with wheels, written at set-up to where collectstatic finds them: no CDN, no npm, nothing to download."""

from __future__ import annotations

from pathlib import Path

import structlog

log = structlog.get_logger(__name__)


def write_bundles(data: Path) -> None:
    """Write <data>/bundles/vega/vega.js: Vega, Vega-Lite and Vega-Embed as one module, 0.9 MB (305 KB gzipped).

    Called by `prepare` alone: the engine of vl-convert takes 150 MB and a second, and goes with its process. A platform that has no
    such wheel goes without: charts stay the plain pictures that they are without scripts.
    """
    try:
        import vl_convert
    except ImportError as error:
        log.warning("no_vega_bundle", reason=str(error)[:200])
        return
    folder = data / "bundles" / "vega"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vega.js").write_text(vl_convert.javascript_bundle(None))  # type: ignore[arg-type]  # its stub forgets the default
