"""`python -m console.runner`: start everything, say where it is, stop everything on Ctrl-C."""

from __future__ import annotations

import os
import sys

from console.core.config import load_config
from console.core.errors import ConsoleError
from console.runner.interrupts import Interrupts
from console.runner.start import run


def main() -> int:
    os.umask(0o077)
    interrupts = Interrupts()
    interrupts.install()
    try:
        run(load_config(), interrupts)
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
