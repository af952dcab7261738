"""Every transition of a failure group, asked of REST and of the page by a viewer, an operator and an administrator."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.test import Client

from console.audit.models import AuditEntry
from console.identity.models import Role, Team
from messages.groups.states import BY_PEOPLE, TRANSITIONS
from messages.models import FailureGroup, Flow
from tests.factories import api_key, person, stored_letter

pytestmark = pytest.mark.django_db
ROLES = (Role.VIEWER, Role.OPERATOR, Role.ADMINISTRATOR)


@pytest.mark.parametrize("way", ["rest", "page"])
def test_each_state_lets_happen_what_the_dict_says_to_those_who_may_and_nothing_to_others(way: str):
    stored_letter()
    Flow.objects.update(team=Team.objects.get_or_create(name="Order team")[0])
    group = FailureGroup.objects.get()
    done: dict[tuple[Role, str, str], tuple[int, str]] = {}
    for role in ROLES:
        user = person(f"who is {role}", role)
        key, client = api_key(user), Client()
        client.force_login(user)
        for state in TRANSITIONS:
            for happening in BY_PEOPLE:
                FailureGroup.objects.filter(pk=group.pk).update(state=state, state_at=datetime.now(UTC))
                entries = AuditEntry.objects.count()
                said = {"reason": "because"}
                if way == "rest":
                    path = f"/api/v1/groups/{group.reference}/{happening}"
                    answer = client.post(
                        path, said, content_type="application/json", HTTP_AUTHORIZATION=f"Bearer {key}"
                    )
                else:
                    answer = client.post(f"/groups/{group.reference}/{happening}/", said)
                group.refresh_from_db()
                done[(role, state, happening)] = answer.status_code, group.state
                assert AuditEntry.objects.count() - entries == (answer.status_code in (200, 303)), (
                    role,
                    state,
                    happening,
                )

    good = 200 if way == "rest" else 303
    refused = 409 if way == "rest" else 422
    expected = {}
    for role, state, happening in done:
        after = TRANSITIONS[state].get(happening)
        if role == Role.VIEWER:
            expected[role, state, happening] = (403, state)
        else:
            expected[role, state, happening] = (good, after) if after else (refused, state)
    assert done == expected
