"""What protoc.py starts: Protobuf's compiler after limits were put on this process. It imports nothing of ours."""

import resource
import sys

from grpc_tools import protoc  # type: ignore[import-untyped]

CPU_S = 5
MEMORY_BYTES = 512 * 1024 * 1024
FILE_BYTES = 8 * 1024 * 1024

if __name__ == "__main__":
    for what, most in (
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))
    sys.exit(protoc.main(sys.argv))
