"""The exception that started it. Pure."""

from __future__ import annotations

import re

CAUSED_BY = re.compile(r"^\s*Caused by:\s*([\w.$]+)", re.M)
PYTHON_LAST = re.compile(
    r"^([A-Za-z_][\w.]*(?:Error|Exception|Timeout|Interrupt|Exit|Failure|Refused|Missing|Unknown\w*))(?::|$)", re.M
)


def root_type(stack: str) -> str:
    """Return the type of the innermost exception: the last `Caused by:`, else the first raised of a Python chain, else ""."""
    caused = CAUSED_BY.findall(stack)
    if caused:
        return str(caused[-1])
    raised = PYTHON_LAST.findall(stack)
    return str(raised[0]) if raised else ""
