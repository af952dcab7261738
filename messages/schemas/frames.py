"""What stands before an encoded body and says which schema it was written by. Pure.

Sources: Confluent's wire format (a zero byte, the schema's id in four bytes, big-endian; Protobuf: then the message's indexes), and the
Apache Avro specification (single-object encoding; object container files).
"""

from __future__ import annotations

from dataclasses import dataclass

from messages.schemas.avro_file import MAGIC as FILE_MAGIC
from messages.schemas.limits import Misfit

CONFLUENT, SINGLE_OBJECT, CONTAINER = "Confluent framing", "Avro single-object encoding", "Avro container file"
DEEPEST_MESSAGE = 32  # messages within messages


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """schema_id: Confluent's, else 0. fingerprint: of single-object encoding, 16 hex digits. start: where the body begins."""

    kind: str
    schema_id: int = 0
    fingerprint: str = ""
    start: int = 0

    def __str__(self) -> str:
        if self.kind == CONFLUENT:
            return f"{self.kind}, schema id {self.schema_id}"
        return f"{self.kind}, fingerprint {self.fingerprint}" if self.fingerprint else self.kind


def frame_of(body: bytes) -> Frame | None:
    """Return the frame that this body begins with. A registry's ids begin at 1, so five zero bytes are none."""
    if body.startswith(FILE_MAGIC):
        return Frame(kind=CONTAINER)
    if body.startswith(b"\xc3\x01") and len(body) >= 10:
        return Frame(kind=SINGLE_OBJECT, fingerprint=body[2:10].hex(), start=10)
    if body.startswith(b"\x00") and len(body) >= 5 and 0 < (number := int.from_bytes(body[1:5], "big")) < 1 << 31:
        return Frame(kind=CONFLUENT, schema_id=number, start=5)
    return None


def message_indexes(body: bytes) -> tuple[list[int], int]:
    """Return (which message of the schema, where the message begins) after Confluent's id; raises Misfit.

    Zigzag varints: how many, then each; a single zero stands for the first message.
    """
    count, at = _zigzag(body, 0)
    if count == 0:
        return [0], at
    if not 0 < count <= DEEPEST_MESSAGE:
        raise Misfit(f"its frame names a message {count:,} levels deep")
    indexes = []
    for _ in range(count):
        index, at = _zigzag(body, at)
        indexes.append(index)
    return indexes, at


def _zigzag(body: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 35, 7):
        if at >= len(body):
            raise Misfit("it ends within its frame")
        value |= (body[at] & 0x7F) << shift
        at += 1
        if body[at - 1] < 0x80:
            return (value >> 1) ^ -(value & 1), at
    raise Misfit("its frame does not say which message it is")
