"""Every write to teams and memberships."""

from __future__ import annotations

from console.identity.models import Environment, Membership, Role, Team, User


def grant_role(user: User, team: Team, environment: Environment, role: Role) -> Membership:
    """Give the user this role in the team there, replacing the one they had."""
    membership, _ = Membership.objects.update_or_create(
        user=user, team=team, environment=environment, defaults={"role": role}
    )
    return membership
