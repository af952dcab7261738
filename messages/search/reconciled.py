"""`reconciled:<id>.failed`: the messages, or dead letters, behind a set of a reconciliation, of each key the one that decided. Its page gives the query."""

from __future__ import annotations

import re
from uuid import UUID

from django.db.models import Q

from messages.models import DeadLetter
from messages.reconcile.access import visible_reconciliations
from messages.reconcile.queries import keys_of_set, of_its_system
from messages.reconcile.sets import SETS
from messages.search.conditions import Condition, Scope, value_of
from messages.search.query import Leaf, Refused, Term

VALUE = re.compile(r"([0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12})\.([a-z-]{1,20})", re.ASCII)


def of_set(column: str, *, letters: bool = False) -> Condition:
    """Return a condition over the id of a message in this column. letters: of dead letters, of which some decide by themselves."""

    def condition(leaf: Leaf, scope: Scope) -> Q:
        found = VALUE.fullmatch(value_of(leaf).lower()) if isinstance(leaf, Term) else None
        if found is None or found[2] not in SETS:
            raise Refused(
                leaf,
                "a set of a reconciliation is called as its page says: its id, a dot and the set, such as ….failed",
            )
        one = visible_reconciliations(scope.actor).filter(pk=UUID(found[1]), environment__in=scope.environments).first()
        if one is None:
            raise Refused(
                leaf,
                "there is no such reconciliation here, or none that you may see: it may have been removed, or have left with retention;"
                " compare anew and take the search from its page",
            )
        if one.evaluated_at is None:
            raise Refused(leaf, "this reconciliation has not been compared yet: its page says how far it is")
        keys = keys_of_set(one, SETS[found[2]]).order_by()
        messages = keys.filter(message_uid__isnull=False).values("message_uid")
        own = keys.filter(letter_id__isnull=False).values("letter_id")
        if not letters or (one.system_id is None and not own.exists()):
            return Q(**{f"{column}__in": messages})
        of_messages = DeadLetter.objects.filter(
            of_its_system(one), environment=one.environment_id, message_uid__in=messages
        )
        return Q(id__in=own.union(of_messages.order_by().values("id"), all=True))  # joined; of an OR no index is used

    return condition
