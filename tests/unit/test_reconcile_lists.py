"""Lists of keys as people and systems send them: what is a key, what is bad and why, and nothing dropped in silence."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from console.core.errors import Invalid
from messages.reconcile import lists
from messages.reconcile.lists import ListReader, ListTooLarge
from messages.reconcile.sets import SETS, csv_line, safe_cell


def read(data: bytes | str, *, column: str = "", size: int = 7) -> tuple[list[tuple[int, str]], ListReader]:
    """Read in chunks of so many bytes."""
    data = data.encode() if isinstance(data, str) else data
    reader = ListReader(key_name="order_no", column=column)
    return list(reader.read(data[at : at + size] for at in range(0, len(data), size))), reader


def test_one_mark_costs_its_line_alone_where_programs_cut_empty_cells_at_the_end():
    found, reader = read('order_no;name;city\n47-1;Ann\n47-2;"Bob\n47-3;Cid\n47-4;Dan\n')

    assert [key for _, key in found] == ["47-1", "47-3", "47-4"]
    assert reader.bad == [{"line": 3, "why": "a quotation mark is not closed"}]


@pytest.mark.parametrize(
    ("text", "column", "keys"),
    [
        ("4711\n4712\n", "", ["4711", "4712"]),
        ("4711\r\n4712", "", ["4711", "4712"]),
        ("order_no\r4711\r\r4712\r", "", ["4711", "4712"]),
        ("471111\r\n471222\r\n", "", ["471111", "471222"]),  # an end on both sides of two chunks
        ("\ufeff4711\n", "", ["4711"]),
        ("  4711 \n\n\t\n4712\n", "", ["4711", "4712"]),
        ("order_no\n4711\n", "", ["4711"]),
        ("Order_No;customer\n4711;1\n4712;2\n", "", ["4711", "4712"]),
        ("id,name\n1,a\n2,b\n", "name", ["a", "b"]),
        ('id,name\n1,"a, b"\n2,"say ""x"""\n', "name", ["a, b", 'say "x"']),
        ("id\tname\n1\ta,b;c\n", "name", ["a,b;c"]),
        ('"4711"\n"a,b"\n', "", ["4711", "a,b"]),
        ("id\torder_no\tland\n\t4711\tDE\n", "", ["4711"]),  # an empty first cell is a cell
        ("\torder_no\tland\n0\t4711\tDE\n1\t4712\t\n", "", ["4711", "4712"]),  # and an unnamed first column a column
        ("\t4711\t\n4712\t\n\u00a0\t\n", "", ["4711", "4712"]),
        ("größe\n→\n=1+1\n-5\n", "", ["größe", "→", "=1+1", "-5"]),
        ('x; order_no\n1; "4711"\n2;\t4712 \n', "", ["4711", "4712"]),
        ('="0047"\n"=""0048"""\n', "", ["0047", "0048"]),
        ('id;order_no\n1;="0047"\n', "", ["0047"]),
        (
            'id;order_no;x\n1;4711\n2;4712;"5"" pipe"\n3;4713;5" pipe\n',
            "",
            ["4711", "4712", "4713"],
        ),  # short, and inches
        ("order_no\norder_no\n", "", ["order_no"]),  # the second is a key that is called so
    ],
)
def test_keys_are_read_from_lines_and_columns(text: str, column: str, keys: list[str]):
    found, reader = read(text, column=column)

    assert [key for _, key in found] == keys
    assert (reader.bad, reader.lines) == ([], len(keys))


@pytest.mark.parametrize(
    ("data", "line", "why"),
    [
        (b"4711\n\xff\xfe\xfd\n4712\n", 2, "it is not UTF-8"),
        (b"4711\n47\x0012\n", 2, "the key has control characters"),
        (b"4711\n" + b"x" * 257 + b"\n", 2, "the key has more than 256 bytes: no message carries such a one"),
        (b"4711\n" + b"x" * 70_000 + b"\n4712\n", 2, "it has more than 64 KiB"),
        (b"4711\n\n\n4712,4713\n", 4, "it has 2 values: a list of several columns needs a header that names the key"),
        (b"order_no,x\n4711,1\n,2\n", 3, "there is no value in the column"),
        (b"x,order_no\n4711\n", 2, "there is no value in the column"),
        (b'4711\n47"12\n4713\n', 2, "a quotation mark stands in the key"),
        (b'4711\nb"\n4713\n', 2, "a quotation mark stands in the key"),
        (b'4711\n"4712\n4713\n', 2, "a quotation mark is not closed"),
    ],
)
def test_a_bad_line_is_told_with_its_number_and_reason_and_the_others_are_read(data: bytes, line: int, why: str):
    found, reader = read(data, size=1000)

    assert reader.bad == [{"line": line, "why": why}]
    assert (reader.bad_count, reader.lines) == (1, len(found) + 1)


def test_a_value_over_several_lines_makes_no_keys_of_its_rest():
    rows = 'id;order_no;note\n1;4711;"a\nb;4\nb;c"\n2;4712;x\n3;"47\n13";x\n4;4714;x\n"5\n6";4715;x\n7;4716;"a\n8;4717;y\n9;4718\n'

    found, reader = read(rows)

    assert found == [(5, "4712"), (8, "4714"), (10, "4715"), (12, "4717"), (13, "4718")]
    assert [(one["line"], str(one["why"])[:8]) for one in reader.bad] == [
        (2, "a quotat"), (3, "it is th"), (4, "it is th"), (6, "a quotat"), (7, "it is th"), (9, "a quotat"), (11, "a quotat"),
    ]  # fmt: skip


@pytest.mark.parametrize("first", ["sep=;", "SEP=;", "sep=|", "sep=\t"])
def test_the_line_in_which_excel_says_its_separator_is_taken_at_its_word(first: str):
    by = first[-1]

    found, reader = read(f"{first}\norder_no{by}a,b,c\n47,11{by}x\n")

    assert (found, reader.bad, reader.blank) == ([(3, "47,11")], [], 1)
    assert read("sep=;\n4711\n47;12\n")[1].bad_count == 1


@pytest.mark.parametrize("text", ["Open orders\norder_no\n4711\n", "Open orders\n\norder_no;amount\n4711;1\n"])
def test_a_title_above_the_header_is_no_key(text: str):
    with pytest.raises(Invalid, match="is a header, and other lines stand above it"):
        read(text)


def test_values_are_keys_as_they_are():
    reader = ListReader(key_name="order_no")

    found = list(reader.read_values(["order_no", " 4711 ", "47\n11", '"1"', "a;b", "sep=;", ""]))

    assert [key for _, key in found] == ["order_no", "4711", '"1"', "a;b", "sep=;"]
    assert reader.bad == [
        {"line": 3, "why": "the key has control characters"}, {"line": 7, "why": "there is no value in the column"},
    ]  # fmt: skip


def test_only_the_first_bad_lines_are_kept_and_all_are_counted():
    _, reader = read("a,b\n" * 5000)

    assert (reader.bad_count, len(reader.bad)) == (5000, lists.BAD_KEPT)


@pytest.mark.parametrize(
    ("data", "column", "error"),
    [
        ("id,name\n1,a\n".encode("utf-16"), "", "this list is UTF-16"),
        (b"order_no\torder_no\n1\t2\n", "", "line 1 has the column “order_no” 2 times: leave one of them"),
        (b"Nr;id;NR\n1;a;2\n", "nr", "line 1 has the column “nr” 2 times"),
        (b"id,name\n1,a\n", "number", "line 1 has no column “number”: it has id, name"),
    ],
)
def test_what_is_no_list_at_all_is_refused(data: bytes, column: str, error: str):
    with pytest.raises(Invalid, match=error):
        read(data, column=column, size=1000)


def test_a_list_that_is_too_large_is_refused_in_bounded_memory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lists, "MOST_KEYS", 10)
    with pytest.raises(ListTooLarge, match="at most 10 keys"):
        read("x\n" * 11)
    monkeypatch.setattr(lists, "MOST_BYTES", 1024 * 1024)
    endless = (b"x" * 65_536 for _ in range(10**9))
    with pytest.raises(ListTooLarge, match="at most 1 MiB"):
        list(ListReader(key_name="order_no").read(endless))


@example(data=b"\xef\xbb\xbf", size=1)
@example(data=b"\xef\xbb\xbfa\nb", size=2)
@given(data=st.binary(max_size=300), size=st.integers(1, 50))
def test_no_bytes_break_it_and_every_line_is_a_key_blank_bad_or_the_header(data: bytes, size: int):
    try:
        found, reader = read(data, size=size)
    except Invalid:
        return

    text = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    lines = len(text.split(b"\n")) - (text[-1:] in (b"\n", b""))
    header = int(lines > 0 and len(found) + reader.blank + reader.bad_count == lines - 1)
    assert len(found) + reader.blank + reader.bad_count == lines - header
    if size > 3 and header:
        assert b"order_no" in data.lower()


@given(data=st.text(st.characters(codec="utf-8"), max_size=200), size=st.integers(1, 40))
def test_chunks_make_no_difference(data: str, size: int):
    def whole(size: int) -> object:
        try:
            found, reader = read(data, size=size)
        except Invalid as error:
            return str(error)
        return found, reader.bad, reader.blank

    assert whole(max(3, size)) == whole(10_000)


@pytest.mark.parametrize(
    "text", ["=1+1", "+49", "-5", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1+1", "\uff20SUM(A1)"]
)
def test_no_cell_is_a_formula(text: str):
    assert safe_cell(text) == f"'{text}"


@pytest.mark.parametrize("separator", [";", "\t", ","])
def test_no_separator_makes_a_cell_that_begins_with_a_formula(separator: str):
    assert csv_line([f"x{separator}=1+1"]) == f'"x{separator}=1+1"\r\n'


@given(
    cells=st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20), min_size=2, max_size=5
    )
)
def test_a_line_reads_back_as_its_cells(cells: list[str]):
    line = csv_line(list(cells))

    assert next(csv.reader(io.StringIO(line, newline=""))) == [safe_cell(cell) for cell in cells]


def test_every_set_says_what_it_is():
    assert [one.slug for one in SETS.values()] == list(SETS)
    assert all(one.meaning and one.label for one in SETS.values())
