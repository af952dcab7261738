"""Who acts: a person in the browser, an API key, a command, the system itself. Carries what they may do."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace

from console.identity.models import Membership, Role, User


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """An identity with its grants, read once per request.

    grants  {environment id: {team id: role}}; a superuser has none and needs none.
    via     web, api, command or system: how the action came in, kept in the audit list.
    key_id  the API key that it came in with.
    """

    name: str
    via: str
    user_id: int | None = None
    key_id: int | None = None
    is_superuser: bool = False
    grants: Mapping[int, Mapping[int, Role]] = field(default_factory=dict)

    @property
    def rights(self) -> Hashable:
        """All that what they may see depends on, as a value: who has the same sees the same."""
        grants = tuple((pk, tuple(sorted(teams.items()))) for pk, teams in sorted(self.grants.items()))
        return self.user_id, self.name, self.is_superuser, grants

    def within(self, environment_id: int) -> Actor:
        """Return the same identity with its grants of one environment alone."""
        return replace(self, grants={environment_id: self.grants.get(environment_id, {})})

    def role_for(self, environment_id: int, team_id: int | None) -> Role | None:
        """Return the role over what this team owns there; without a team, the highest role in the environment."""
        if self.is_superuser:
            return Role.ADMINISTRATOR
        teams = self.grants.get(environment_id, {})
        if team_id is None:
            return max(teams.values(), default=None)
        return teams.get(team_id)

    def has_role(self, environment_id: int, team_id: int | None, role: Role) -> bool:
        held = self.role_for(environment_id, team_id)
        return held is not None and held >= role


SYSTEM = Actor(name="system", via="system", is_superuser=True)
COMMAND = Actor(name="command line", via="command", is_superuser=True)


def actor_of(user: User, *, via: str, key_id: int | None = None) -> Actor:
    """Return the actor for an authenticated user, with every grant in one query."""
    if user.is_superuser:
        return Actor(name=user.username, via=via, user_id=user.pk, key_id=key_id, is_superuser=True)
    grants: dict[int, dict[int, Role]] = {}
    for environment_id, team_id, role in Membership.objects.filter(user=user).values_list(
        "environment_id", "team_id", "role"
    ):
        grants.setdefault(environment_id, {})[team_id] = Role(role)
    return Actor(name=user.username, via=via, user_id=user.pk, key_id=key_id, grants=grants)
