"""What clients send about teams, and what they get."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from bursar.billing.customers import Kind, Role
from bursar.billing.invitations import InvitedRole
from bursar.entrypoints.api.answers import Answer
from bursar.entrypoints.api.requests import Email, Line, Sent, UserId

TeamName = Annotated[Line, Field(min_length=1, max_length=200)]


class TeamRequest(Sent):
    """What a team is called."""

    name: TeamName


class MemberRequest(Sent):
    """Somebody to bring in: a user at once (with a service key), or whoever gets the link."""

    user_id: UserId | None = Field(None, description="Only with a service key: added at once.")
    email: Email | None = Field(None, description="To remember whom the link was made for.")
    role: Role = "member"

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.user_id is not None and self.email is not None:
            raise PydanticCustomError(
                "one_of", "Send user_id to add a user at once, or email to invite somebody"
            )
        if self.user_id is None and self.role == "owner":
            raise PydanticCustomError(
                "role_invalid", "A link makes no owner: invite an admin, and change the role later"
            )
        return self


class RoleRequest(Sent):
    """What a member is from now on."""

    role: Role


class AcceptRequest(Sent):
    """The secret of an invitation's link."""

    token: Annotated[str, Field(min_length=1, max_length=100)]


class TeamAnswer(Answer):
    """An account that the user belongs to; name it in `Bursar-Customer` to act for it."""

    customer_id: int
    kind: Kind
    name: str | None = Field(description="A team's name; null for the user's own account.")
    role: Role


class TeamsAnswer(Answer):
    """Every account that the user belongs to, newest first."""

    data: list[TeamAnswer]
    next_cursor: str | None


class MemberAnswer(Answer):
    """A user in a team."""

    user_id: str
    email: str | None
    name: str | None
    role: Role
    joined_at: datetime


class InvitationAnswer(Answer):
    """An open invitation. Its link is not shown again."""

    invitation_id: int
    email: str | None
    role: InvitedRole
    invited_by: str
    created_at: datetime
    expires_at: datetime


class SeatsAnswer(Answer):
    """Members and open invitations, and how many of them there may be."""

    limit: int | None = Field(description="Null: nothing limits them.")
    used: int


class MembersAnswer(Answer):
    """Everybody in a team, who joined first standing first, and everybody asked to join."""

    data: list[MemberAnswer]
    next_cursor: None = Field(None, description="A team's members are answered whole.")
    invitations: list[InvitationAnswer]
    seats: SeatsAnswer


class MemberMadeAnswer(Answer):
    """A user who was added, or whose role was changed."""

    customer_id: int
    user_id: str
    role: Role


class InvitationMadeAnswer(Answer):
    """A link to hand on; it stands here and nowhere else."""

    invitation_id: int
    url: str
    expires_at: datetime


class GoneAnswer(Answer):
    """What was asked to go is gone."""

    gone: Literal[True] = True
