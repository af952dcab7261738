"""Mail, page, PDF and CSV of one content: that they say the same, byte for byte, and that hostile text stays text in each."""

from __future__ import annotations

import csv
import io
import re
import zlib
from html.parser import HTMLParser

import msgspec
import pytest

from alerts.reports import drawing
from alerts.reports.content import Audience, Cadence, Stands, as_json, from_json
from alerts.reports.drawing import Drawn, chart_spec, draw, forget
from alerts.reports.face import face_of
from alerts.reports.periods import last_period
from alerts.reports.rendering import Rendered, as_page, render
from alerts.reports.texts import text_of
from tests.reports.samples import FROZEN, HOSTILE, days, example, hostile, promise

OPEN, STOP = "https://waybill.example/r/one", "https://waybill.example/s/one?a=1&b=2"
PNG = b"\x89PNG\r\n\x1a\n"
VOID = {"meta", "img", "br"}


@pytest.fixture(scope="module")
def mail() -> Rendered:
    return render(example(), open_url=OPEN, stop_url=STOP)


@pytest.fixture(scope="module")
def attacked() -> Rendered:
    return render(hostile(), open_url=OPEN, stop_url=STOP)


class Seen(HTMLParser):
    """What a mail client would make of it: elements with their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.inside: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.inside.append(tag)

    def handle_endtag(self, tag):
        assert self.inside.pop() == tag  # everything is closed in its place

    def handle_data(self, data):
        if "style" not in self.inside and "title" not in self.inside:
            self.text += data + " "


def files(rendered: Rendered) -> dict[str, bytes]:
    return {name.rpartition(".")[2]: data for name, _, data in rendered.attachments}


def said(rendered: Rendered) -> str:
    return " ".join(Seen(rendered.html).text.split())


def pdf_text(pdf: bytes) -> bytes:
    """Return the streams of a PDF, inflated."""
    return b"".join(zlib.decompress(one) for one in re.findall(rb"stream\r?\n(x.*?)\r?\nendstream", pdf, re.DOTALL))


def test_a_mail_says_what_its_face_says(mail):
    face = face_of(example())
    text, html = " ".join(mail.text.split()), said(mail)

    assert mail.subject == "Order team: two of three promises kept in October 2026"
    told = [
        face.verdict,
        face.lead,
        face.letters,
        *face.notes,
        *(one.detail for one in face.promises),
        *(one.became for one in face.causes),
    ]
    for sentence in told:
        assert " ".join(sentence.split()) in text
        assert " ".join(sentence.split()) in html
    for address in (OPEN, STOP):
        assert address in mail.text
    assert face.chart is not None
    assert face.chart.peak in text


def test_the_same_content_gives_the_same_bytes_but_for_the_two_links(mail):
    forget()  # what was kept for other receivers says nothing

    again = render(
        from_json(msgspec.json.decode(msgspec.json.encode(as_json(example())))), open_url=OPEN, stop_url=STOP
    )
    other = render(example(), open_url="https://waybill.example/r/two", stop_url="https://waybill.example/s/two")

    assert again == mail
    assert (other.subject, other.images, other.attachments) == (mail.subject, mail.images, mail.attachments)
    assert other.html.replace("/r/two", "/r/one").replace("/s/two", "/s/one?a=1&amp;b=2") == mail.html
    assert " ".join(other.text.replace("/r/two", "/r/one").replace("/s/two", "/s/one?a=1&b=2").split()) == " ".join(
        mail.text.split()
    )
    for _, _, data in mail.attachments:
        assert b"waybill.example" not in data


def test_the_page_is_the_mail_with_its_pictures_inside(mail):
    page = as_page(mail)

    assert re.sub(r'src="data:image/png;base64,[\w+/=]+"', 'src="cid:chart"', page) == mail.html
    assert "cid:" not in page


@pytest.mark.parametrize("which", ["mail", "attacked"])
def test_nothing_is_loaded_from_anywhere(which, request):
    rendered = request.getfixturevalue(which)
    for html in (rendered.html, as_page(rendered)):
        seen = Seen(html)
        assert not {"script", "link", "iframe", "object", "form", "base"} & {tag for tag, _ in seen.elements}
        assert "url(" not in html
        assert "@import" not in html
        for tag, attributes in seen.elements:
            assert not [name for name in attributes if name.startswith("on")]
            if "src" in attributes:
                assert attributes["src"].startswith(("cid:chart", "data:image/png;base64,"))
            if "href" in attributes:
                assert (tag, attributes["href"]) in {("a", OPEN), ("a", STOP)}


def test_html_for_mail_clients_has_its_styles_inside_and_is_620_px(mail):
    seen = Seen(mail.html)
    sheet = next(
        attributes for tag, attributes in seen.elements if tag == "table" and attributes.get("class") == "sheet"
    )

    assert sheet["width"] == "620"
    assert "max-width: 620px" in sheet["style"]
    assert all(attributes.get("style") for tag, attributes in seen.elements if tag in ("h1", "h2", "img"))
    (style,) = re.findall(r"<style>(.*?)</style>", mail.html, re.DOTALL)
    assert style.count("@media") == 2
    assert re.sub(r"@media[^{]*\{([^{}]*\{[^{}]*\})*\s*\}", "", style).strip() == ""  # the rest is in the elements
    assert len(mail.html) < 90_000  # Gmail cuts at 102 KB


def test_hostile_text_is_text_in_html_and_plain_text(attacked):
    seen = Seen(attacked.html)

    assert [tag for tag, _ in seen.elements if tag == "img"] == ["img"]  # the chart
    assert '"><img src=x onerror=alert(1)>' in seen.text
    assert "\u202e" not in attacked.html + attacked.text + attacked.subject
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", attacked.html + attacked.text)
    assert "\n" not in attacked.subject
    assert "\r" not in attacked.subject
    assert (
        not re.search(r"^Bcc:", attacked.text.replace("\n  ", " "), re.MULTILINE) or "Bcc: a" in attacked.text
    )  # wrapped, in a body, no header
    assert 'onload="' not in attacked.html


def test_hostile_text_is_no_formula(attacked):
    rows = list(csv.reader(io.StringIO(files(attacked)["csv"].decode(), newline="")))

    for row in rows:
        assert len(row) == len(rows[0])
        assert not [cell for cell in row if cell[:1] in tuple("=+-@\t\r")]
    wild = render(
        example(promises=(promise(name="=HYPERLINK(1)", flow="@x", words="-1"),)), open_url=OPEN, stop_url=STOP
    )
    assert b"'=HYPERLINK(1),'@x," in files(wild)["csv"]


def test_hostile_text_is_no_markup_of_the_pdf():
    """Markup would end the making of it: a panic, a file or a package that is not there, a bracket that nothing closes."""
    texts = (
        *(HOSTILE, '#read("/etc/passwd")', '#import "@preview/x:1": *', "= heading\n\n#panic()", "#{", "]]]", "\\", '"', "$", "`raw`", "// gone", "/* gone"),
        *("#" * 50, "<label>", "@ref", "~", "#sys.inputs", "\\u{1F600}", "]#panic()[", '"+panic()+"'),
    )  # fmt: skip
    promises = tuple(promise(name=text, words=text) for text in texts)
    causes = tuple(msgspec.structs.replace(example().causes[0], title=text, flow=text) for text in texts)

    drawn = draw(example(promises=promises, causes=causes, corrects="\n".join(texts), revision=2, quality=texts))

    assert drawn.pdf is not None
    assert drawn.pdf.startswith(b"%PDF-")


def test_the_pdf_has_no_script_and_no_link(attacked):
    pdf = files(attacked)["pdf"]

    for word in (b"/JavaScript", b"/JS", b"/URI", b"/Launch", b"/EmbeddedFile", b"/OpenAction"):
        assert word not in pdf
        assert word not in pdf_text(pdf)


def test_the_pdf_is_tagged_titled_and_of_the_time_when_it_was_frozen(mail):
    pdf = files(mail)["pdf"]
    everything = pdf + pdf_text(pdf)

    assert b"/MarkInfo" in everything
    assert b"/Alt" in everything
    assert b"D:20261101" in everything


def test_the_csv_has_a_row_for_everything(mail):
    rows = list(csv.DictReader(io.StringIO(files(mail)["csv"].decode(), newline="")))

    kinds = [row["row"] for row in rows]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "promise": 3,
        "cause": 3,
        "letters": 1,
        "day": 31,
        "exclusion": 1,
        "coverage": 1,
        "report": 1,
    }
    missed = next(row for row in rows if row["name"] == "Invoices delivered")
    assert (missed["stands"], missed["target"], missed["left"], missed["overspent"]) == (
        "missed",
        "0.999",
        "0.0",
        "28.94",
    )
    assert {row["since"] for row in rows if row["row"] == "promise"} == {"2026-09-30T22:00:00+00:00"}
    for total in ("good", "late", "lost"):
        assert sum(int(row[total]) for row in rows if row["row"] == "day") == sum(getattr(day, total) for day in days())


def test_attachments_are_named_after_audience_and_period(mail, attacked):
    assert [(name, kind) for name, kind, _ in mail.attachments] == [
        ("order-team-2026-10.pdf", "application/pdf"),
        ("order-team-2026-10.csv", "text/csv"),
    ]
    assert mail.images["chart"].startswith(PNG)
    for name, _, _ in attacked.attachments:
        assert re.fullmatch(r"[a-z0-9_-]+-2026-10-revision-2\.(pdf|csv)", name)
    day = last_period(Cadence.DAILY, "Europe/Berlin", FROZEN)
    nameless = example(period=day, audience=Audience(name="日本", environment=1, language="ja-JP", zone="Asia/Tokyo"))
    assert render(nameless, open_url=OPEN, stop_url=STOP).attachments[-1][0] == "report-2026-10-31.csv"


def test_a_mail_of_many_promises_lists_the_riskiest_and_is_not_cut_by_gmail():
    name = "A promise with a name of quite some length, as people give them, about orders"
    kept = tuple(promise(objective=number, name=name, left_ratio=number / 300) for number in range(2, 300))
    promises = (
        promise(objective=1, name="Invoices", stands=Stands.MISSED),
        *kept,
        promise(objective=300, stands=Stands.NO_DATA),
    )
    causes = tuple(msgspec.structs.replace(one, title="x " * 80, flow="y " * 60) for one in example().causes * 2)

    rendered = render(
        example(promises=promises, causes=causes, quality=("A long sentence. " * 30,)), open_url=OPEN, stop_url=STOP
    )

    words = "260 more: 1 no data, 259 kept. The CSV has them all."
    assert words in said(rendered)
    assert words in rendered.text
    assert "Invoices" in rendered.text
    assert len(rendered.html) < 100_000
    assert files(rendered)["csv"].count(b"\r\npromise,") == 300


def test_a_revision_is_marked_everywhere():
    rendered = render(
        example(revision=2, corrects="the maintenance of 12 October was left out"), open_url=OPEN, stop_url=STOP
    )
    words = "Revision 2 of this report. It corrects: the maintenance of 12 October was left out."

    assert rendered.subject.startswith("Revision 2: Order team: ")
    assert words in said(rendered)
    assert words in " ".join(rendered.text.split())
    assert "as revision 2." in said(rendered)
    assert b"revision 2" in files(rendered)["csv"]


def test_without_pictures_and_pdf_the_mail_leaves_and_does_not_speak_of_them(monkeypatch):
    monkeypatch.setattr(drawing, "CHILD", drawing.CHILD.with_name("there is no such file"))
    forget()

    rendered, drawn = render(example(), open_url=OPEN, stop_url=STOP), draw(example())

    assert drawn == Drawn()
    assert (rendered.images, [name for name, _, _ in rendered.attachments]) == ({}, ["order-team-2026-10.csv"])
    assert "cid:" not in rendered.html
    assert "A CSV is attached." in said(rendered)
    assert "PDF" not in rendered.html


def test_a_report_that_compares_no_days_has_no_chart():
    rendered = render(example(days=(), promises=(promise(kind="volume", counted=False),)), open_url=OPEN, stop_url=STOP)

    assert rendered.images == {}
    assert "cid:" not in rendered.html


def test_bars_are_red_where_more_is_bad_than_is_promised():
    rows = chart_spec(example())["data"]["values"]

    assert [row["day"][-2:] for row in rows if row["look"] == "bad"] == ["12", "22", "23"]
    assert [row["day"][-2:] for row in rows if row["excluded"]] == ["12"]
    assert all(row["height"] > 0 for row in rows)


@pytest.mark.parametrize(
    "document",
    [
        '#read("/etc/passwd")',
        '#read("../../../../etc/passwd")',
        '#include "/etc/passwd"',
        '#import "@preview/cetz:0.3.0": canvas',
    ],
)
def test_a_document_gets_no_file_and_no_package(document):
    """The document is ours; were it not, its root is an empty folder, and packages are looked for there."""
    answer = drawing._told({"chart": None, "data": {}, "at": 0, "document": document})

    assert answer["pdf"] is None
    assert "pdf: " in answer["log"]
    assert "root:" not in answer["log"]


def test_a_text_says_once_that_there_are_no_data():
    silent = promise(name="Orders", stands=Stands.NO_DATA, adjusted=None, attained=None)
    face = face_of(msgspec.structs.replace(example(), promises=(silent,)))

    text = text_of(face, attached="", open_url=OPEN, stop_url=STOP)

    assert "○ Orders: no data (promised 99.5\u00a0%)\n  Nothing was measured." in text
