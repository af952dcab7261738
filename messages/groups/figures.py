"""How far a failure reaches: customers, documents, amounts, whether it is one message or all. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

CUSTOMERS = ("customer_no", "customer_id", "customer", "account_no", "client_no", "debtor_no")
DOCUMENT = re.compile(r"(?:.*_)?(?:no|nr|number|id)", re.ASCII)
FIRST_DOCUMENTS = ("order_no", "invoice_no", "shipment_no")
AMOUNT = re.compile(r"(?:.*[._])?(?:amount|total|net|gross)(?:_(?:eur|usd|gbp|chf))?", re.ASCII)
FIGURE = re.compile(r"-?\d{1,15}(?:[.,]\d{1,6})?", re.ASCII)
CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
SIGNS = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥"}
MOST = 999_999


@dataclass(slots=True)
class Reach:
    """documents  {value of the first document key: how often it failed}.   amounts  by currency, each document once."""

    customers: set[str] = field(default_factory=set)
    documents: Counter[str] = field(default_factory=Counter)
    amounts: dict[str, Decimal] = field(default_factory=dict)
    word: str = ""  # what a document is called: order, invoice


def reach_of(keys: Iterable[Mapping[str, str]]) -> Reach:
    """Return what failures with these business keys touch: distinct values, an amount once a document."""
    reach, named = Reach(), Counter[str]()
    for one in keys:
        customer = next((one[name] for name in CUSTOMERS if one.get(name)), "")
        if customer:
            reach.customers.add(str(customer))
        name = document_key(one)
        document = f"{name}={one[name]}" if name else ""
        first = not document or document not in reach.documents
        if document:
            reach.documents[document] += 1
            named[name] += 1
        if first and (amount := _amount(one)):
            currency, figure = amount
            reach.amounts[currency] = reach.amounts.get(currency, Decimal(0)) + figure
    if named:
        reach.word = named.most_common(1)[0][0].rpartition("_")[0].replace("_", " ").replace(".", " ")
    return reach


def document_key(keys: Mapping[str, str]) -> str:
    """Return the key that names the document: an order before an invoice before a shipment before any other number; "" without one."""
    for name in FIRST_DOCUMENTS:
        if keys.get(name):
            return name
    others = sorted(name for name in keys if name not in CUSTOMERS and keys[name] and DOCUMENT.fullmatch(name[:64]))
    return others[0] if others else ""


def _amount(keys: Mapping[str, str]) -> tuple[str, Decimal] | None:
    name = next((one for one in sorted(keys) if AMOUNT.fullmatch(one[:64])), None)
    if name is None or not FIGURE.fullmatch(str(keys[name])):
        return None
    said = str(keys.get("currency", "")).upper()
    tail = name.rpartition("_")[2].upper()
    currency = said if CURRENCY.fullmatch(said) else tail if CURRENCY.fullmatch(tail) and tail not in ("NET",) else ""
    return currency, Decimal(str(keys[name]).replace(",", "."))


def blast_of(*, customers: int, documents: int, waiting: int) -> int:
    """Return the number by which groups are ordered, from 0 (nothing waits) to 10**18.

    First the customers; where no failure names one, the documents; where none names a document, the failures themselves: what is not
    known is taken for the worst. Then documents, then failures.
    """
    if not waiting:
        return 0
    first = customers or documents or waiting
    return min(first, MOST) * 10**12 + min(documents, MOST) * 10**6 + min(waiting, MOST)


def amount_words(amounts: Mapping[str, str]) -> str:
    """Return "€74,912", "€12.50 and CHF 300"; nothing without amounts."""
    told = []
    for currency, text in sorted(amounts.items()):
        figure = Decimal(text)
        said = f"{figure:,.0f}" if abs(figure) >= 1000 or figure == int(figure) else f"{figure:,.2f}"
        told.append(f"{SIGNS[currency]}{said}" if currency in SIGNS else f"{currency} {said}".strip())
    return " and ".join(told)


def reach_words(
    *, waiting: int, customers: int, documents: int, amounts: Mapping[str, str], word: str, capped: bool
) -> str:
    """Return "181 orders of 63 customers, €74,912": what is touched, as one phrase."""
    least = "at least " if capped else ""
    count = documents or waiting
    noun = f"{(word or 'document')}{'' if count == 1 else 's'}" if documents else f"failure{'' if count == 1 else 's'}"
    said = f"{least}{count:,} {noun}"
    if customers:
        said += f" of {customers:,} customer{'' if customers == 1 else 's'}"
    if money := amount_words(amounts):
        said += f", {money}"
    return said


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """kind: poison (one document, again and again), outage (nearly all fail), some (part of them), "" when too little is known."""

    kind: str = ""
    words: str = ""


SEVERAL = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What came of a flow in the last hours. failed, otherwise: messages and letters of the group, of other groups. passed: processed.

    station  the system at which it is counted, "" for all systems of the flow.
    """

    failed: int
    otherwise: int
    passed: int
    station: str = ""

    @property
    def all(self) -> int:
        return self.failed + self.otherwise + self.passed


def spread_of(documents: Mapping[str, int], tried: Tried | None) -> Spread:
    """Return whether one message is the trouble or everything.

    documents  {document: how often it failed} of all that waits; empty when not each names one, or was looked at.
    tried  None when no event told of the flow.
    """
    if len(documents) == 1 and (times := next(iter(documents.values()))) >= SEVERAL:
        name, _, value = next(iter(documents)).partition("=")
        passed = tried.passed if tried else 0
        others = f", while {passed:,} other{'' if passed == 1 else 's'} passed" if passed else ""
        what = name.rpartition("_")[0].replace("_", " ") or "document"
        return Spread(kind="poison", words=f"One {what}, {value}, failed {times:,} times{others}: look at it alone.")
    if tried is None or tried.failed < SEVERAL:
        return Spread()
    where, share = tried.station or "the flow", tried.failed / tried.all
    if share >= 0.9:
        whole = f"{tried.passed:,} of {tried.all:,}" if tried.passed else "Nothing"
        only = "Only " if tried.passed else ""
        return Spread(
            kind="outage",
            words=f"{only}{whole} passed {where} in the last hours: the destination or what leads to it is the trouble.",
        )
    percent = f"{share:.0%}" if share >= 0.01 else "less than 1%"
    otherwise = f"{tried.otherwise:,} failed otherwise, " if tried.otherwise else ""
    return Spread(
        kind="some",
        words=f"{percent} of what came to {where} in the last hours failed this way: {tried.failed:,} of {tried.all:,}, "
        f"{otherwise}{tried.passed:,} passed. It is neither one message alone nor everything.",
    )
