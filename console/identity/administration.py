"""What administrators change: agents' keys, teams, people and who belongs where. Each is audited."""

from __future__ import annotations

from django.db import IntegrityError, transaction

from console.audit.services import record_audit
from console.core.errors import Conflict, Invalid, NotFound
from console.identity.access import check_can_administer, check_superuser
from console.identity.actor import Actor
from console.identity.addresses import check_address
from console.identity.keys import create_agent_key, revoke_key
from console.identity.models import Environment, Key, Membership, Role, Team, User
from console.identity.names import check_name
from console.identity.passwords import check_password
from console.identity.services import grant_role


@transaction.atomic
def issue_agent_key(environment: Environment, name: str, *, by: Actor) -> tuple[Key, str]:
    """Make a key for an agent, made with it when it is new; return the key and its text, which is shown once."""
    check_can_administer(by, environment)
    name = name.replace("\x00", "").strip()
    if not name or len(name) > 120:
        raise Invalid("an agent has a name of 1 to 120 characters")
    key, text = create_agent_key(name, environment, by=by.name)
    assert key.agent is not None
    record_audit(
        by, "agent_key.created", key.agent, environment=environment, details={"key": key.pk, "prefix": key.prefix}
    )
    return key, text


@transaction.atomic
def end_agent_key(environment: Environment, agent_id: int, key_id: int, *, by: Actor) -> Key:
    """Revoke one key of an agent; raises NotFound when the agent has no such key."""
    check_can_administer(by, environment)
    key = (
        Key.objects.select_related("agent").filter(pk=key_id, agent_id=agent_id, agent__environment=environment).first()
    )
    if key is None or key.agent is None:
        raise NotFound("this agent has no such key")
    revoke_key(key)
    record_audit(
        by, "agent_key.revoked", key.agent, environment=environment, details={"key": key.pk, "prefix": key.prefix}
    )
    return key


@transaction.atomic
def create_team(name: str, *, by: Actor) -> Team:
    """Make a team; raises Conflict when the name is taken."""
    check_superuser(by)
    name = name.replace("\x00", "").strip()
    if not name or len(name) > 80:
        raise Invalid("a team has a name of 1 to 80 characters")
    try:
        with transaction.atomic():
            team = Team.objects.create(name=name)
    except IntegrityError as error:
        raise Conflict(f"there is a team {name} already") from error
    record_audit(by, "team.created", team)
    return team


@transaction.atomic
def add_member(team: Team, username: str, environment: Environment, role: Role, *, by: Actor) -> Membership:
    """Give a user a role in a team and environment, replacing the one they had; raises Invalid for an unknown user."""
    check_superuser(by)
    user = User.objects.filter(username=username.replace("\x00", "").strip()).first()
    if user is None:
        raise Invalid(f"there is no user {username[:60]}")
    membership = grant_role(user, team, environment, role)
    record_audit(
        by, "membership.granted", team, environment=environment, team_id=team.pk, label=str(team),
        details={"user": user.username, "role": role.label},
    )  # fmt: skip
    return membership


@transaction.atomic
def create_user(username: str, password: str, *, address: str = "", by: Actor) -> User:
    """Make a person who can sign in and belongs to no team yet; raises Invalid, and Conflict when the name, or one that reads alike, is taken."""
    check_superuser(by)
    address = check_address(address)
    username = check_name(username, taken=User.objects.order_by().values_list("username", flat=True))
    check_password(password, User(username=username))
    try:
        with transaction.atomic():
            user = User.objects.create_user(username=username, email=address, password=password)
    except IntegrityError as error:
        raise Conflict(f"there is a user {username} already") from error
    record_audit(by, "user.created", user)
    if address:
        record_audit(by, "user.address_set", user)
    return user


@transaction.atomic
def remove_member(membership_id: int, *, by: Actor) -> None:
    """Take a role away; what the person did stays in the audit list."""
    check_superuser(by)
    membership = Membership.objects.select_related("team", "user", "environment").filter(pk=membership_id).first()
    if membership is None:
        raise NotFound("this membership is gone")
    record_audit(
        by, "membership.removed", membership.team, environment=membership.environment, team_id=membership.team_id,
        details={"user": membership.user.username, "role": Role(membership.role).label},
    )  # fmt: skip
    membership.delete()
