"""YAML that people upload: plain data, bounded, without the parts of the language that grow or run."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import islice
from typing import Any

import yaml

from console.core.errors import Invalid

MOST_BYTES = 256 * 1024
MOST_DEEP = 32
MOST_DIGITS = 100
NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
SURROGATE = re.compile("[\ud800-\udfff]")
OTHER_BREAKS = frozenset("\x85\u2028\u2029")


class BadYaml(Invalid):
    """The text is no YAML that is taken here; the sentence names line and column."""

    code = "bad_yaml"


class _Loader(yaml.SafeLoader):
    """The safe loader, without aliases (a few lines of them unfold into gigabytes) and without the same name twice in one mapping."""

    deep = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "aliases are not taken", self.peek_event().start_mark)
        self.deep += 1
        if self.deep > MOST_DEEP:
            raise yaml.composer.ComposerError(None, None, "it is nested too deeply", self.peek_event().start_mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self.deep -= 1

    def compose_scalar_node(self, anchor: Any) -> Any:
        node = super().compose_scalar_node(anchor)
        if SURROGATE.search(node.value):
            raise yaml.composer.ComposerError(None, None, "half a character is not taken", node.start_mark)
        # one of base 60, 1:30:00, takes the square of its length to be read, and one of base 16 may be too long to be written
        if node.tag in NUMBERS and len(node.value) > MOST_DIGITS:
            words = f"a number of more than {MOST_DIGITS} digits is not taken"
            raise yaml.composer.ComposerError(None, None, words, node.start_mark)
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for name in (key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"“{name[:60]}” is there twice", node.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


# Dates stay texts: what is meant by them is for whoever reads the field.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in pairs if tag != "tag:yaml.org,2002:timestamp"]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(text: str) -> Any:
    """Return the data of one YAML (or JSON) document; raises BadYaml in words, with the place."""
    return _read(text, MOST_BYTES, lambda: yaml.load(text, Loader=_Loader))  # noqa: S506  a safe loader, made safer


def read_documents(text: str, *, most_bytes: int = MOST_BYTES, most: int) -> list[Any]:
    """Return the data of each YAML document of a text, at most one more than `most`; raises BadYaml in words, with the place."""
    return _read(text, most_bytes, lambda: list(islice(yaml.load_all(text, Loader=_Loader), most + 1)))


def _read(text: str, most_bytes: int, load: Callable[[], Any]) -> Any:
    if len(text.encode("utf-8", "surrogatepass")) > most_bytes:
        raise BadYaml(f"at most {most_bytes // 1024} KiB are read")
    try:
        return load()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise BadYaml(f"{where}{error.problem or error.context}") from error
    except (
        LookupError,
        AttributeError,
        TypeError,
    ) as error:  # what the library says of a tag that does not fit: !!bool maybe
        raise BadYaml("a value is none of the kind that its tag says") from error
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise BadYaml(" ".join(str(error).split())[:300]) from error


def write_yaml(*documents: Any) -> str:
    """Return plain data as YAML, names in their order, text of several lines as a block; several documents one after another."""
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # a break of lines other than “\n” is read as a space anywhere but in an escape
    style = '"' if OTHER_BREAKS.intersection(text) else "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
