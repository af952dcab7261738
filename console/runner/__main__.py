"""`python -m console.runner`: start everything, say where it is, stop everything on Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

from console.core.config import load_config
from console.core.errors import ConsoleError
from console.runner.start import run


def _stop(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    os.umask(0o077)
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)  # also when a script started us with &, which leaves it ignored
    try:
        run(load_config())
    except ConsoleError as error:
        print(f"waybill: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"waybill: {error.strerror or error}: {error.filename or 'disk or network'}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
