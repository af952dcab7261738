"""What runner.py starts: people's programs on bodies, after limits were put on this process. It imports nothing of ours.

A request is its kind (1 byte), the program and the body, each behind its length (4 bytes, big-endian). The answer is a status (1 byte:
0 done, 1 refused in words, 2 the program itself cannot be used) and bytes behind their length. Nothing can be opened any more: no file,
no socket, no process. SIGPROF ends the process when one request takes more than CPU_S; nothing for IDLE_S ends it with 0.
"""

import json
import os
import resource
import select
import signal
import struct
import sys
from typing import Any

import jq
from lxml import etree

CPU_S = 2.0
MEMORY_BYTES = 512 * 1024 * 1024
LARGEST_ANSWER = 8 * 1024 * 1024
MOST_ERRORS = 10
IDLE_S = 20
DONE, REFUSED, UNUSABLE = 0, 1, 2
XSL = "{http://www.w3.org/1999/XSL/Transform}"
XSD = "{http://www.w3.org/2001/XMLSchema}"
OUTSIDE = {f"{XSL}import", f"{XSL}include", f"{XSD}import", f"{XSD}include", f"{XSD}redefine", f"{XSD}override"}


class Unusable(Exception):
    """The program itself cannot be used."""


class Refused(Exception):
    """The program cannot be applied to this body."""


def parsed(data: bytes) -> Any:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    root = etree.fromstring(data, parser)
    if root.getroottree().docinfo.internalDTD is not None:
        raise ValueError("it has a DTD inside")
    return root


def program_of(data: bytes) -> Any:
    try:
        root = parsed(data)
    except (etree.XMLSyntaxError, ValueError, LookupError) as error:
        raise Unusable(f"it is not XML: {error}") from error
    if any(one.tag in OUTSIDE for one in root.iter()):
        raise Unusable(
            "it asks for another file, and there is none: include, import, redefine and override are not taken"
        )
    return root


def document_of(data: bytes) -> Any:
    try:
        return parsed(data)
    except (etree.XMLSyntaxError, ValueError, LookupError) as error:
        raise Refused(f"it is not XML: {error}") from error


def jq_of(program: bytes) -> Any:
    text = program.decode()
    try:
        jq.compile(text)
        compiled = jq.compile(f"[limit(2; (\n{text}\n))]")
    except ValueError as error:
        raise Unusable(str(error)) from error

    def run(body: bytes) -> bytes:
        try:
            answer = compiled.input_text(body.decode()).text()
        except ValueError as error:
            raise Refused(str(error)) from error
        if not answer or answer == "[]":
            raise Refused("it makes nothing of it")
        if len(json.loads(answer)) != 1:
            raise Refused("it makes several of it; one is wanted: put [ ] around")
        return str(answer).encode()  # a list of one: its reader keeps the digits

    return run


def xslt_of(program: bytes) -> Any:
    control: Any = etree.XSLTAccessControl
    denied = control(read_file=False, write_file=False, create_dir=False, read_network=False, write_network=False)
    try:
        transform = etree.XSLT(program_of(program), access_control=denied)
    except etree.XSLTParseError as error:
        raise Unusable(str(error)) from error

    def run(body: bytes) -> bytes:
        try:
            made = bytes(transform(document_of(body)))
        except etree.XSLTApplyError as error:
            raise Refused(str(error)) from error
        if not made:
            raise Refused("it makes nothing of it")
        return made

    return run


def xsd_of(program: bytes) -> Any:
    try:
        schema: Any = etree.XMLSchema(program_of(program))
    except etree.XMLSchemaParseError as error:
        raise Unusable(str(error)) from error

    def run(body: bytes) -> bytes:
        if schema.validate(document_of(body)):
            return b"[]"
        said = [f"line {one.line}: {one.message}"[:300] for one in schema.error_log]
        return json.dumps(said[:MOST_ERRORS]).encode()

    return run


def json_schema_of(program: bytes) -> Any:
    import jsonschema
    from referencing import Registry

    try:
        schema = json.loads(program)
        kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        kind.check_schema(schema)
    except (ValueError, jsonschema.SchemaError, RecursionError, AttributeError, TypeError) as error:
        raise Unusable(str(error).partition("\n")[0] or type(error).__name__) from error
    validator = kind(schema, registry=Registry())

    def run(body: bytes) -> bytes:
        try:
            document = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise Refused(f"it is not JSON: {error}") from error
        found = []
        for one in validator.iter_errors(document):
            found.append(f"{one.json_path}: {one.message}"[:300])
            if len(found) == MOST_ERRORS:
                break
        return json.dumps(found).encode()

    return run


KINDS = {b"q": jq_of, b"t": xslt_of, b"x": xsd_of, b"j": json_schema_of}


def answer(kind: bytes, program: bytes, body: bytes, compiled: dict[Any, Any]) -> tuple[int, bytes]:
    try:
        if (kind, program) not in compiled:
            if len(compiled) >= 64:
                compiled.clear()
            compiled[kind, program] = KINDS[kind](program)
        made = compiled[kind, program](body)
    except Unusable as error:
        return UNUSABLE, words(error)
    except Refused as error:
        return REFUSED, words(error)
    except MemoryError:
        return REFUSED, b"it needs too much memory"
    except Exception as error:  # noqa: BLE001  what a library raises for a program is an answer, not the end of the process
        return REFUSED, words(error)
    return (DONE, made) if len(made) <= LARGEST_ANSWER else (REFUSED, b"it makes more than 8 MiB of it")


def words(error: Exception) -> bytes:
    said = " ".join(str(error).split()) or type(error).__name__
    return said[:500].encode("utf-8", "replace")


def read(size: int) -> bytes:
    """Return so many bytes of standard input; its end, and nothing for IDLE_S, ends the process."""
    data = b""
    while len(data) < size:
        if not select.select([0], [], [], IDLE_S)[0]:
            os._exit(0)
        chunk = os.read(0, size - len(data))
        if not chunk:
            os._exit(0)
        data += chunk
    return data


def write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


def bound() -> None:
    """Let this process use little, and open nothing from now on."""
    for what, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 3),
    ):
        resource.setrlimit(what, (most, most))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)


def serve() -> None:
    compiled: dict[Any, Any] = {}
    while True:
        kind, size = struct.unpack(">cI", read(5))
        program = read(size)
        body = read(*struct.unpack(">I", read(4)))
        signal.setitimer(signal.ITIMER_PROF, CPU_S)
        status, made = answer(kind, program, body, compiled)
        signal.setitimer(signal.ITIMER_PROF, 0)
        write(struct.pack(">BI", status, len(made)) + made)


if __name__ == "__main__":
    if "checks" in sys.argv:
        # nothing is opened after bound(), so everything that a check may need is used once
        json_schema_of(b'{"$ref": "#/$defs/a", "$defs": {"a": {"type": "string", "pattern": "a"}}}')(b'"b"')
        for draft in ("draft-04", "draft-06", "draft-07", "2019-09"):
            json_schema_of(f'{{"$schema": "http://json-schema.org/{draft}/schema#", "type": "object"}}'.encode())(b"1")
    bound()
    serve()
