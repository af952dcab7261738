"""The exception that started it. Pure, and linear in the stack's length: stacks come from strangers and may be megabytes."""

from __future__ import annotations

import re

# One line at a time and no nested repetition: `^\s*` over a stack of a million empty lines takes hours.
CAUSED_BY = re.compile(r"^[ \t]*Caused by:[ \t]*([\w.$]+)", re.M)
DOTNET_INNER = re.compile(r"---> ?(?:\(Inner Exception #\d+\) ?)?([A-Za-z_][\w.]*)(?=:)")
NODE_CAUSE = re.compile(r"^[ \t]*\[cause\]:[ \t]*([A-Za-z_][\w.]*)(?=:)", re.M)
NAME = re.compile(r"[A-Za-z_][\w.$]*")
ENDINGS = ("Error", "Exception", "Timeout", "Interrupt", "Exit", "Failure", "Refused", "Missing")
LONGEST_NAME = 300


def root_type(stack: str) -> str:
    """Return the type of the innermost exception: the last cause a stack names, else the first raised of a Python chain, else ""."""
    for causes in (CAUSED_BY, NODE_CAUSE, DOTNET_INNER):
        if found := causes.findall(stack):
            return str(found[-1])[:LONGEST_NAME]
    return first_type(stack)


def first_type(stack: str) -> str:
    """Return the first exception that begins a line: a Java stack's outermost, a Python chain's root; "" without one."""
    for line in stack.splitlines():
        head = line.partition(":")[0]
        if len(head) <= LONGEST_NAME and NAME.fullmatch(head):
            last = head.rpartition(".")[2]
            if last.endswith(ENDINGS) or "Unknown" in last:
                return head
    return ""
