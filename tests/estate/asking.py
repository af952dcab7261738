"""Whoever asks: every number that a place tells, beside the one that the model has; and how a page is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from lxml import html

from tests.estate.model import Estate, Reach
from tests.estate.pushing import Reader


@dataclass
class Asking:
    """looked: workers looked while it was told, so that groups were seen, and counted in the hour, of what was known by then.

    pages: each message and each search as a page too. It is slow, and they read what REST reads.
    """

    readers: dict[str, Reader]
    estate: Estate
    looked: bool = False
    pages: bool = True
    compared: int = 0
    differences: list[str] = field(default_factory=list)

    def same(self, who: str, number: str, where: str, told: Any, true: Any) -> None:
        self.compared += 1
        if told != true:
            self.differences.append(f"{number}, as told to {who} at {where}: {told!r}, and is {true!r}")

    def same_hours(self, who: str, number: str, where: str, told: Callable[[], list[int]], reach: Reach) -> None:
        """The same of counts by hour, which move with the hour in which they are asked for."""
        now = datetime.now(UTC)
        said, later = told(), datetime.now(UTC)
        if (now.day, now.hour) != (later.day, later.hour):
            now, said = later, told()
        true = self.estate.hours(reach, now)
        self.same(who, number, where, sum(said) if self.looked else said, sum(true) if self.looked else true)

    def everybody(self) -> Iterator[tuple[str, Reader]]:
        yield from self.readers.items()

    def at(self, ago: float | None) -> str | None:
        """Return the time so many minutes ago, to the millisecond, as pages and REST are read here."""
        return None if ago is None else stamp(self.estate.now - timedelta(minutes=ago))


def stamp(at: datetime | str | None) -> str | None:
    if at is None:
        return None
    at = datetime.fromisoformat(at) if isinstance(at, str) else at
    return at.strftime("%d %H:%M:%S.") + f"{at.microsecond // 1000:03}"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table. first: the text of the link in it.   cells: the texts by data-label, and by their place from 0."""

    first: str
    href: str
    cells: dict[str | int, str]
    times: list[str]
    labels: list[str]
    said: str


class Page:
    """A page as text: its rows, its figures, its facts."""

    def __init__(self, response: Any) -> None:
        assert response.status_code == 200, response.content[:2000]
        self.root = html.fromstring(response.content.decode())

    def rows(self, within: str = "") -> list[Row]:
        root = self.root.get_element_by_id(within) if within else self.root
        return [_row(one) for one in root.iterfind(".//tbody/tr")]

    def figures(self) -> dict[str, str]:
        found = self.root.xpath("//*[@class='figure']")
        return {text_of(one.find("span")): text_of(one.find("b")) for one in found}

    def facts(self) -> dict[str, str]:
        names = [text_of(one) for one in self.root.xpath("//dl[@class='facts']/dt")]
        return dict(zip(names, self.root.xpath("//dl[@class='facts']/dd"), strict=True))

    def verdict(self) -> str:
        return text_of(self.root.xpath("//h1[contains(@class, 'verdict')]")[0])

    @property
    def text(self) -> str:
        return text_of(self.root.get_element_by_id("main"))


def _row(row: Any) -> Row:
    link = row.find(".//a")
    cells: dict[str | int, str] = {at: text_of(cell) for at, cell in enumerate(row.iterfind("td"))}
    cells |= {cell.get("data-label"): text_of(cell) for cell in row.iterfind("td") if cell.get("data-label")}
    times = [str(stamp(one.get("datetime"))) for one in row.iterfind(".//time")]
    first, href = (text_of(link), link.get("href")) if link is not None else ("", "")
    return Row(first, href, cells, times, row.xpath(".//@aria-label"), text_of(row))


def text_of(node: Any) -> str:
    return " ".join(node.text_content().split())


def time_of(node: Any) -> str | None:
    """Return the time that a part of a page tells."""
    return stamp(node.find(".//time").get("datetime"))
