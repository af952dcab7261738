"""How far a failure reaches: customers, documents, amounts. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal

CUSTOMERS = ("customer_no", "customer_id", "customer", "account_no", "client_no", "debtor_no")
DOCUMENT = re.compile(r"(?:.*_)?(?:no|nr|number|id)", re.ASCII)
FIRST_DOCUMENTS = ("order_no", "invoice_no", "shipment_no")
AMOUNT = re.compile(r"(?:.*[._])?(?:amount|total|net|gross)(?:_(?:eur|usd|gbp|chf))?", re.ASCII)
FIGURE = re.compile(r"(?P<whole>-?\d{1,15})(?:[.,](?P<part>\d{1,6}))?", re.ASCII)
GROUPED = re.compile(
    r"(?P<whole>-?\d{1,3}(?P<by>[.,'’ \u00a0\u202f])\d{3}(?:(?P=by)\d{3}){0,3})(?:(?!(?P=by))[.,](?P<part>\d{1,6}))?",
    re.ASCII,
)
EITHER = re.compile(
    r"-?[1-9]\d{0,2}[.,]\d{3}", re.ASCII
)  # 12,500 is twelve and a half to one, twelve thousand to another
CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
SIGNS = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥"}
MOST = 999_999


@dataclass(slots=True)
class Reach:
    """documents  {value of the first document key: how often it failed}.   amounts  by currency, each document once.

    is_amount_partial  whether an amount could not be read, or some name none that others do: the sum is without it.
    failures  how many these are.   unnamed  of them, those that name no document.
    unknown  documents of which no failure names a customer, and failures that name neither.
    """

    customers: set[str] = field(default_factory=set)
    documents: Counter[str] = field(default_factory=Counter)
    amounts: dict[str, Decimal] = field(default_factory=dict)
    is_amount_partial: bool = False
    word: str = ""  # what a document is called: order, invoice; "" where some are called otherwise
    failures: int = 0
    unnamed: int = 0
    unknown: int = 0

    @property
    def is_document_partial(self) -> bool:
        """Whether some failures name a document and some do not."""
        return bool(self.unnamed and self.documents)

    @property
    def is_customer_partial(self) -> bool:
        """Whether some of what failed has a known customer and some has not."""
        return bool(self.unknown and self.customers)


def reach_of(keys: Iterable[Mapping[str, str]]) -> Reach:
    """Return what failures with these business keys touch: distinct values, an amount once a document."""
    reach, named = Reach(), Counter[str]()
    said: list[tuple[str, Mapping[str, str], list[str]]] = []  # document, keys, names of amounts
    owned, unpriced = set[str](), 0  # documents of a known customer; failures that name neither document nor amount
    for one in keys:
        reach.failures += 1
        customer = next((one[name] for name in CUSTOMERS if one.get(name)), "")
        if customer:
            reach.customers.add(str(customer))
        document = document_of(one)
        if document:
            reach.documents[document] += 1
            named[document.partition("=")[0]] += 1
            if customer:
                owned.add(document)
        else:
            reach.unnamed += 1
            reach.unknown += not customer
        names = [name for name in sorted(one) if AMOUNT.fullmatch(name[:64]) and str(one[name]).strip()]
        if names:
            said.append((document, one, names))
        elif not document:
            unpriced += 1
    reach.unknown += len(reach.documents) - len(owned)
    marks, counted, unread = _marks_of(said), set[str](), set[str]()
    for document, one, names in said:
        if document in counted:
            continue
        if not _add_amount(reach, one, names, marks):
            unread.add(document)
        elif document:
            counted.add(document)
    reach.is_amount_partial = bool(unread - counted) or bool(
        reach.amounts and (unpriced or reach.documents.keys() - counted)
    )
    if len(named) == 1:
        reach.word = next(iter(named)).rpartition("_")[0].replace("_", " ").replace(".", " ")
    return reach


def _marks_of(said: Iterable[tuple[str, Mapping[str, str], list[str]]]) -> dict[str, str]:
    """Return {key: what parts whole and fraction in its values}, where all that say it say the same and are no fewer than what they decide."""
    by_key: dict[
        str, dict[str, set[str]]
    ] = {}  # the documents whose value says so; as "?" those whose value may be two
    for number, (document, one, names) in enumerate(said):
        for name in names:
            text = str(one[name]).strip()
            if mark := "?" if EITHER.fullmatch(text) else mark_of(text):
                by_key.setdefault(name, {}).setdefault(mark, set()).add(document or str(number))
    found = {}
    for name, marks in by_key.items():
        asked = marks.pop("?", set())
        if len(marks) == 1:
            ((mark, sayers),) = marks.items()
            if len(sayers) >= len(asked):
                found[name] = mark
    return found


def _add_amount(reach: Reach, keys: Mapping[str, str], names: Sequence[str], marks: Mapping[str, str]) -> bool:
    """Add the first of these amounts that can be read; whether one could. marks: as of _marks_of."""
    for name in names:
        figure = figure_of(str(keys[name]), mark=marks.get(name, ""))
        if figure is not None:
            currency = _currency(keys, name)
            reach.amounts[currency] = reach.amounts.get(currency, Decimal(0)) + figure
            return True
    return False


def document_of(keys: Mapping[str, str]) -> str:
    """Return "order_no=4711", "" where no key names a document."""
    name = document_key(keys)
    return f"{name}={keys[name]}" if name else ""


def document_key(keys: Mapping[str, str]) -> str:
    """Return the key that names the document: an order before an invoice before a shipment before any other number; "" without one."""
    return next((name for name in FIRST_DOCUMENTS if keys.get(name)), "") or next(iter(numbers_of(keys)), "")


def numbers_of(keys: Mapping[str, str]) -> dict[str, str]:
    """Return what may name a document, {key: value}: first what names this one, customers left out."""
    others = sorted(name for name in keys if name not in CUSTOMERS and DOCUMENT.fullmatch(name[:64]))
    return {name: keys[name] for name in dict.fromkeys((*FIRST_DOCUMENTS, *others)) if keys.get(name)}


def figure_of(text: str, *, mark: str = "") -> Decimal | None:
    """Return the amount that is written as 1234.5, 1,234.50, 1.234,50, 1'234.50 or 1 234,50; None for what it may not be.

    mark  "." or ",", what parts whole and fraction here: it decides what 12,500 is, which else is None.
    """
    text = text.strip()
    if not EITHER.fullmatch(text):
        found = FIGURE.fullmatch(text) or GROUPED.fullmatch(text)
    else:
        found = (FIGURE if mark in text else GROUPED).fullmatch(text) if mark else None
    if found is None:
        return None
    whole = re.sub(r"[^0-9-]", "", found["whole"])
    return Decimal(f"{whole}.{found['part']}" if found["part"] else whole)


def mark_of(text: str) -> str:
    """Return what parts whole and fraction in an amount that can be read but in one way, "" where it does not say: 12.50, 1,234,567 → "."."""
    text = text.strip()
    if EITHER.fullmatch(text):
        return ""
    if found := FIGURE.fullmatch(text) or GROUPED.fullmatch(text):
        if found["part"]:
            return text[found.start("part") - 1]
        return {",": ".", ".": ","}.get(found.groupdict().get("by") or "", "")
    return ""


def _currency(keys: Mapping[str, str], name: str) -> str:
    said = str(keys.get("currency", "")).upper()
    tail = name.rpartition("_")[2].upper()
    return said if CURRENCY.fullmatch(said) else tail if CURRENCY.fullmatch(tail) and tail not in ("NET",) else ""


def blast_of(reach: Reach, *, waiting: int) -> int:
    """Return the number by which groups are ordered, from 0 (nothing waits) to 10**18. waiting: of them `reach` is of those that were read.

    First the customers; where no failure names one, the documents; then documents, then failures. A failure that names no document is one,
    and what has no known customer is one too: what is not known is taken for the worst. Those that were not read are as these, if there are any.
    """
    if not waiting:
        return 0
    unread = max(0, waiting - reach.failures)
    documents = len(reach.documents) + (reach.unnamed + unread if reach.unnamed else 0)
    customers = len(reach.customers) + (reach.unknown + unread if reach.unknown else 0)
    first = customers if reach.customers else documents
    return min(first, MOST) * 10**12 + min(documents, MOST) * 10**6 + min(waiting, MOST)


def amount_pieces(amounts: Mapping[str, str], *, at_least: bool = False) -> list[str]:
    """Return ["at least", "€12.50", "and CHF 300"], which lines may part; nothing without amounts. From 1,000 on they are whole, and a half
    is one more.
    """
    told: list[str] = []
    for currency, text in sorted(amounts.items()):
        figure = Decimal(text)
        is_whole = abs(figure) >= 1000 or figure == int(figure)
        said = f"{figure.quantize(Decimal(1 if is_whole else '0.01'), ROUND_HALF_UP):,}"
        said = f"{SIGNS[currency]}{said}" if currency in SIGNS else f"{currency} {said}".strip()
        told.append(f"and {said}" if told else said)
    return ["at least", *told] if at_least and told else told


def amount_words(amounts: Mapping[str, str], *, at_least: bool = False) -> str:
    """Return "€74,912", "at least €12.50 and CHF 300"; nothing without amounts."""
    return " ".join(amount_pieces(amounts, at_least=at_least))


def reach_words(
    *,
    waiting: int,
    customers: int,
    documents: int,
    amounts: Mapping[str, str],
    word: str,
    capped: bool,
    failed_capped: bool = False,
    customers_partial: bool = False,
    documents_partial: bool = False,
    amounts_partial: bool = False,
) -> str:
    """Return "181 orders of 63 customers, €74,912": what is touched, as one phrase; where these are not all, after how many failed:
    "501 failures, at least 1 order of 1 customer". Figures are as those of FailureGroup of these names.
    """
    said = []
    if not documents or ((capped or documents_partial) and waiting > documents):
        said.append(_counted(waiting, "failure", at_least=failed_capped))
    if documents:
        said.append(_counted(documents, word or "document", at_least=capped or documents_partial))
    is_told = capped if documents else failed_capped  # one "at least" is for all that follows
    if customers:
        said[-1] += f" of {_counted(customers, 'customer', at_least=(capped or customers_partial) and not is_told)}"
    if money := amount_words(amounts, at_least=(capped or amounts_partial) and not is_told):
        said.append(money)
    return ", ".join(said)


def _counted(count: int, noun: str, *, at_least: bool) -> str:
    return f"{'at least ' if at_least else ''}{count:,} {noun}{'' if count == 1 else 's'}"
