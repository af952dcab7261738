"""A reconciliation as a CSV, in bounded memory: one query for each 5,000 keys, and no cell that a spreadsheet takes for a formula."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.http import StreamingHttpResponse

from console.identity.actor import Actor
from messages.masking.shown import key_shown
from messages.models import ReconciledKey, Reconciliation
from messages.reconcile.queries import ComparedAgain, every_key
from messages.reconcile.sets import KeySet, csv_line

COLUMNS = ("outcome", "times_on_list", "line", "messages", "message_id", "dead_letter_id")
KINDS = dict(ReconciledKey.Kind.choices)
LINES = 1_000  # a part of the answer
NOT_WHOLE = "This file is not whole: the list was compared again, or removed, during the download. Download it again."


def csv_of(actor: Actor, one: Reconciliation, key_set: KeySet | None) -> StreamingHttpResponse:
    """Return the answer that a browser saves as a file; the caller has checked that the reconciliation may be seen."""
    response = StreamingHttpResponse(_parts(actor, one, key_set), content_type="text/csv; charset=utf-8")
    name = f"reconciliation-{one.created_at:%Y%m%d}-{str(one.pk)[-8:]}{'-' + key_set.slug if key_set else ''}.csv"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Cache-Control"] = "no-store"
    return response


def _parts(actor: Actor, one: Reconciliation, key_set: KeySet | None) -> Iterator[bytes]:
    """Yield the lines of one comparison. When it is not the last one any more, a line says that the file is not whole, and the answer breaks off."""
    system = [one.system.name] if one.system else []
    lines = [csv_line([one.key_name, *COLUMNS, *(["system"] if system else [])])]
    try:
        for row in every_key(one, key_set):
            lines.append(_line(row, key_shown(actor, one.environment_id, row.key), system))
            if len(lines) >= LINES:
                yield "".join(lines).encode()
                lines = []
    except ComparedAgain:
        yield "".join([*lines, csv_line([NOT_WHOLE])]).encode()
        raise
    yield "".join(lines).encode()


def _line(row: ReconciledKey, key: str, system: Sequence[str]) -> str:
    decided = [row.message_uid or "", row.letter_id or ""]
    return csv_line([key, KINDS[row.kind], row.listed, row.line or "", row.messages, *decided, *system])
