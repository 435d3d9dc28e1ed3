"""What has to happen so that the users are as wanted: decided purely, and done elsewhere. Standard library only."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal
from uuid import uuid4

from tunnel_whisperer.problems import InvalidInputError
from tunnel_whisperer.users import authorized_keys
from tunnel_whisperer.users.desired import DesiredUser
from tunnel_whisperer.users.keys import read_public_key
from tunnel_whisperer.users.model import ORIGIN_INVENTORY, User, UserSet
from tunnel_whisperer.users.targets import Target

Regenerate = Literal["never", "missing", "always"]
REGENERATE: tuple[Regenerate, ...] = ("never", "missing", "always")

Kind = Literal["create", "change", "delete", "keep", "skip"]


@dataclass(frozen=True, slots=True)
class Policy:
    """How a plan is made.

    `purge` removes users of the same origin that nobody wants any more. `regenerate` is for UUIDs and certificates:
    with `never` one that is there stays, whatever its state; with `missing` it is made anew when it no longer serves
    (another key, another authority, half of its life over); with `always` each time.
    """

    tenant: str
    origin: str = ORIGIN_INVENTORY
    purge: bool = False
    regenerate: Regenerate = "missing"


@dataclass(frozen=True, slots=True)
class Action:
    """What happens to one user and why; `issue` says that a certificate is to be made for it."""

    name: str
    kind: Kind
    reasons: tuple[str, ...] = ()
    before: User | None = None
    after: User | None = None
    issue: bool = False

    @property
    def changes(self) -> bool:
        """Whether anything about the user changes."""
        return self.kind in ("create", "change", "delete")


@dataclass(frozen=True, slots=True)
class Plan:
    """Every user's action, those nobody mentioned and that stay left out."""

    current: UserSet
    actions: Mapping[str, Action]

    @property
    def changed(self) -> bool:
        """Whether anything changes."""
        return any(action.changes for action in self.actions.values())

    def outcome(self, issue: Callable[[str], str]) -> UserSet:
        """Return the users as they will be; `issue` makes the certificate of a user whose action asks for one."""
        if not self.changed:
            return self.current
        users = dict(self.current)
        for action in self.actions.values():
            if action.kind == "delete":
                del users[action.name]
            elif action.changes and action.after is not None:
                after = action.after
                users[action.name] = replace(after, certificate=issue(action.name)) if action.issue else after
        return UserSet(users, self.current.generation + 1)

    def diff(self) -> tuple[str, str]:
        """Return the users that change as text, before and after; secrets are masked."""
        changed = sorted((action for action in self.actions.values() if action.changes), key=lambda action: action.name)
        before = [_describe(action.before, action, old=True) for action in changed if action.before]
        after = [_describe(action.after, action, old=False) for action in changed if action.after]
        return "".join(before), "".join(after)


def make_plan(
    current: UserSet,
    desired: Mapping[str, DesiredUser],
    policy: Policy,
    *,
    stale: Mapping[str, str] | None = None,
    new_uuid: Callable[[], str] = lambda: str(uuid4()),
) -> Plan:
    """Compare what is with what is wanted.

    `stale` says, by user that asked for a certificate and does not have one that serves, why it needs another. Raises
    InvalidInputError when two users would have the same key.
    """
    maker = _Maker(current, policy, stale or {}, new_uuid)
    actions = {user.name: maker.action(user) for user in desired.values()}
    if policy.purge:
        for user in current.values():
            if user.name not in desired and user.origin == policy.origin:
                actions[user.name] = Action(user.name, "delete", ("nobody wants it any more",), before=user)
    plan = Plan(current, actions)
    _check_keys(plan)
    return plan


@dataclass(frozen=True, slots=True)
class _Maker:
    current: UserSet
    policy: Policy
    stale: Mapping[str, str]
    new_uuid: Callable[[], str]

    def action(self, wanted: DesiredUser) -> Action:
        before = self.current.get(wanted.name)
        if not wanted.present:
            if before is None:
                return Action(wanted.name, "keep")
            return Action(wanted.name, "delete", ("it is to be absent",), before=before)
        if before is None:
            return self._create(wanted)
        return self._change(before, wanted)

    def _create(self, wanted: DesiredUser) -> Action:
        if wanted.key is None:
            reason = f"its host {wanted.host} was not reached, so its key is not known yet"
            return Action(wanted.name, "skip", (reason,))
        user = User(
            name=wanted.name,
            uuid=self.new_uuid(),
            authorized_key=self._line(wanted, str(wanted.key)),
            apps=wanted.apps,
            ports=wanted.ports,
            origin=self.policy.origin,
        )
        return Action(wanted.name, "create", ("it is new",), after=user, issue=wanted.csr is not None)

    def _change(self, before: User, wanted: DesiredUser) -> Action:
        key = before.public_key if wanted.key is None else str(wanted.key)
        after = replace(
            before,
            authorized_key=self._line(wanted, key),
            apps=wanted.apps,
            ports=wanted.ports,
            origin=self.policy.origin,
        )
        reasons = [*_permissions(before.targets, wanted.targets)]
        always = self.policy.regenerate == "always" and wanted.key is not None
        if key != before.public_key:
            reasons.append("it has another key, and so another UUID")
        if always:
            reasons.append("its UUID and certificate are always made anew")
        if key != before.public_key or always:
            after = replace(after, uuid=self.new_uuid())
        issue = self._issues(before, wanted, always=always)
        if issue and not always:
            reasons.append(f"it gets a certificate: {self.stale.get(before.name, 'it has none')}")
        elif not issue and wanted.csr is None and key != before.public_key and before.certificate:
            after = replace(after, certificate="")
            reasons.append("its certificate was for the former key")
        if before.origin != self.policy.origin:
            reasons.append(f"it is taken over from origin {before.origin}")
        if after == before and not issue:
            return Action(before.name, "keep", before=before, after=before)
        return Action(before.name, "change", tuple(reasons or ["its description changed"]), before, after, issue)

    def _issues(self, before: User, wanted: DesiredUser, *, always: bool) -> bool:
        if wanted.csr is None:
            return False
        if always or not before.certificate:
            return True
        return before.name in self.stale and self.policy.regenerate != "never"

    def _line(self, wanted: DesiredUser, key: str) -> str:
        return authorized_keys.build(read_public_key(key), wanted.targets, f"{wanted.name}@{self.policy.tenant}")


def _permissions(before: frozenset[Target], after: frozenset[Target]) -> list[str]:
    reasons = []
    if gained := sorted(after - before):
        reasons.append(f"it may also reach {', '.join(map(str, gained))}")
    if lost := sorted(before - after):
        reasons.append(f"it may no longer reach {', '.join(map(str, lost))}")
    return reasons


def _check_keys(plan: Plan) -> None:
    owners: dict[str, str] = {}
    problems = []
    for user in plan.outcome(lambda _: "").values():
        first = owners.setdefault(user.public_key, user.name)
        if first != user.name:
            problems.append(f'users.{user.name}.public_key: is the key of user "{first}" too')
    if problems:
        raise InvalidInputError(problems)


def _describe(user: User | None, action: Action, *, old: bool) -> str:
    if user is None:
        return ""
    renewed = action.before is not None and action.after is not None and action.before.uuid != action.after.uuid
    certificate = "(made anew)" if action.issue and not old else "(as it is)" if user.certificate else "none"
    return (
        f"{user.name}:\n"
        f"  key: {read_public_key(user.public_key).fingerprint}\n"
        f"  targets: {', '.join(map(str, sorted(user.targets)))}\n"
        f"  apps: {', '.join(user.apps) or 'none'}\n"
        f"  ports: {', '.join(map(str, user.ports)) or 'none'}\n"
        f"  origin: {user.origin}\n"
        f"  uuid: {'(another secret)' if renewed and not old else '(secret)'}\n"
        f"  certificate: {certificate}\n"
    )
