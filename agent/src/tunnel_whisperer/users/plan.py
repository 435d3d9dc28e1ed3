"""The difference between the users that are and those that are wanted. Pure; standard library only."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal
from uuid import uuid4

from tunnel_whisperer.problems import Problems
from tunnel_whisperer.users import authorized_keys, times
from tunnel_whisperer.users.desired import DesiredUser
from tunnel_whisperer.users.grants import ORIGIN_INVENTORY, App, Grant
from tunnel_whisperer.users.keys import read_public_key
from tunnel_whisperer.users.model import User, UserSet
from tunnel_whisperer.users.plan_text import describe_app, describe_user
from tunnel_whisperer.users.targets import Target

Regenerate = Literal["never", "missing", "always"]
REGENERATE: tuple[Regenerate, ...] = ("never", "missing", "always")

Kind = Literal["create", "change", "delete", "keep", "skip"]


@dataclass(frozen=True, slots=True)
class Policy:
    """How a plan is made.

    `purge` removes users and apps of the same origin that nobody wants any more; `adopt` takes those of another origin
    over. `drop_apps` names apps that are to go. `regenerate` is for UUIDs and certificates: with `never` one that is
    there stays, whatever its state; with `missing` it is made anew when it no longer serves (another key, another
    authority, half of its life over); with `always` each time. `renew` names the users who are to get a new bundle,
    which ends what they had.
    """

    tenant: str
    origin: str = ORIGIN_INVENTORY
    purge: bool = False
    adopt: bool = True
    regenerate: Regenerate = "missing"
    renew: frozenset[str] = frozenset()
    drop_apps: frozenset[str] = frozenset()


def new_uuid(_name: str = "") -> str:
    """Make a UUID, in its usual form, for whomever."""
    return str(uuid4())


def no_key(name: str) -> str:
    """Stand for a caller that makes no keys."""
    raise AssertionError(f"a bundle is wanted for {name}, and nobody makes keys")


@dataclass(frozen=True, slots=True)
class Making:
    """What a plan takes from outside: the time, and by user's name a new UUID, and a new key for one with a bundle."""

    now: datetime
    uuid: Callable[[str], str] = new_uuid
    key: Callable[[str], str] = no_key


@dataclass(frozen=True, slots=True)
class Action:
    """What happens to one user and why; `issue` and `bundle` say that a certificate, a file is to be made for it."""

    name: str
    kind: Kind
    reasons: tuple[str, ...] = ()
    before: User | None = None
    after: User | None = None
    issue: bool = False
    bundle: bool = False

    @property
    def changes(self) -> bool:
        """Whether anything about the user changes."""
        return self.kind in ("create", "change", "delete")


@dataclass(frozen=True, slots=True)
class Plan:
    """Every user's action, those nobody mentioned and that stay left out, and the apps as they will be."""

    current: UserSet
    actions: Mapping[str, Action]
    apps: Mapping[str, App]

    @property
    def changed(self) -> bool:
        """Whether anything changes."""
        return self.apps != self.current.apps or any(action.changes for action in self.actions.values())

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
        return UserSet(users, self.current.generation + 1, self.apps)

    def diff(self) -> tuple[str, str]:
        """Return the apps and users that change as text, before and after; secrets are masked."""
        names = sorted({*self.current.apps, *self.apps})
        pairs = [(self.current.apps.get(name), self.apps.get(name)) for name in names]
        before = [describe_app(old) for old, new in pairs if old is not None and old != new]
        after = [describe_app(new) for old, new in pairs if new is not None and old != new]
        for action in sorted((one for one in self.actions.values() if one.changes), key=lambda one: one.name):
            before += [describe_user(action.before)] if action.before else []
            after += [describe_user(action.after, action.before, issue=action.issue)] if action.after else []
        return "".join(before), "".join(after)


def make_plan(
    current: UserSet,
    desired: Mapping[str, DesiredUser],
    policy: Policy,
    making: Making,
    *,
    apps: Mapping[str, App] | None = None,
    stale: Mapping[str, str] | None = None,
) -> Plan:
    """Compare what is with what is wanted; without `apps` they stay as they are.

    `stale` says, by user that asked for a certificate and does not have one that serves, why it needs another. Raises
    InvalidInputError with everything that cannot be.
    """
    problems = Problems()
    check_wanted(problems, current, desired, policy, making.now)
    known = merge_apps(current.apps, apps, policy)
    maker = _Maker(current, known, policy, making, stale or {}, problems)
    actions = {user.name: maker.action(user) for user in desired.values()}
    for user in current.values():
        if user.name in actions:
            continue
        if policy.purge and user.origin == policy.origin:
            actions[user.name] = Action(user.name, "delete", ("nobody wants it any more",), before=user)
        elif action := maker.follow_apps(user):
            actions[user.name] = action
    problems.check()
    return Plan(current, actions, known)


def check_wanted(
    problems: Problems, current: UserSet, desired: Mapping[str, DesiredUser], policy: Policy, now: datetime
) -> None:
    """Note what cannot be for reasons that do not lie in one user's fields alone."""
    owners: dict[str, str] = {}
    for name, key in _keys(current, desired, policy):
        first = owners.setdefault(key, name)
        if first != name:
            problems.add(f"users.{name}.public_key", f'is the key of user "{first}" too')
    for wanted in desired.values():  # a date that was good when it was set may pass; a new one has to lie ahead
        expires, before = wanted.grant.expires, current.get(wanted.name)
        if expires is not None and expires <= now and (before is None or before.grant.expires != expires):
            message = f"{times.write(expires)} is past; give a later one, or state absent"
            problems.add(f"users.{wanted.name}.expires", message)


def needs_bundle(current: UserSet, wanted: DesiredUser, policy: Policy) -> bool:
    """Say whether a bundle is to be made for a user now."""
    return wanted.bundle is not None and (wanted.name not in current or wanted.name in policy.renew)


def _keys(current: UserSet, desired: Mapping[str, DesiredUser], policy: Policy) -> Iterator[tuple[str, str]]:
    """Return the keys of all users as they will be, but for those that are to be made."""
    for user in current.values():
        wanted = desired.get(user.name)
        if wanted is None:
            if not (policy.purge and user.origin == policy.origin):
                yield user.name, user.public_key
        elif wanted.present and wanted.key is None and not needs_bundle(current, wanted, policy):
            yield user.name, user.public_key
    for wanted in desired.values():
        if wanted.present and wanted.key is not None:
            yield wanted.name, str(wanted.key)


def merge_apps(current: Mapping[str, App], wanted: Mapping[str, App] | None, policy: Policy) -> Mapping[str, App]:
    """Return the apps as they will be."""
    kept = {name: app for name, app in current.items() if name not in policy.drop_apps}
    if wanted is None:
        return kept if policy.drop_apps else current
    if policy.purge:
        kept = {name: app for name, app in kept.items() if app.origin != policy.origin}
    if not policy.adopt:
        wanted = {
            name: replace(app, origin=current[name].origin) if name in current else app for name, app in wanted.items()
        }
    merged = {**kept, **wanted}
    return {name: merged[name] for name in sorted(merged)}


@dataclass(frozen=True, slots=True)
class _Maker:
    current: UserSet
    apps: Mapping[str, App]
    policy: Policy
    making: Making
    stale: Mapping[str, str]
    problems: Problems

    def action(self, wanted: DesiredUser) -> Action:
        before = self.current.get(wanted.name)
        if not wanted.present:
            if before is None:
                return Action(wanted.name, "keep")
            return Action(wanted.name, "delete", ("it is to be absent",), before=before)
        if before is None:
            return self._create(wanted)
        return self._change(before, wanted)

    def follow_apps(self, user: User) -> Action | None:
        """Let a user that nobody mentioned follow its apps."""
        for name in user.grant.apps:
            if name not in self.apps:
                self.problems.add(f"apps.{name}", f'is still given to user "{user.name}"; take it from there first')
        targets = user.grant.targets(self.apps)
        if targets == user.targets or not targets:
            return None
        after = replace(user, authorized_key=self._line(user.name, user.public_key, user.grant))
        return Action(user.name, "change", tuple(_permissions(user.targets, targets)), user, after)

    def _create(self, wanted: DesiredUser) -> Action:
        if wanted.bundle is not None:
            key = self.making.key(wanted.name)
        elif wanted.key is not None:
            key = str(wanted.key)
        else:
            reason = f"its host {wanted.host} was not reached, so its key is not known yet"
            return Action(wanted.name, "skip", (reason,))
        user = User(
            name=wanted.name,
            uuid=self.making.uuid(wanted.name),
            authorized_key=self._line(wanted.name, key, wanted.grant),
            grant=wanted.grant,
            origin=self.policy.origin,
            enrolment=self._enrolment(wanted),
        )
        issue = wanted.csr is not None or (wanted.bundle is not None and wanted.bundle.kind == "identity")
        return Action(wanted.name, "create", ("it is new",), None, user, issue, bundle=wanted.bundle is not None)

    def _change(self, before: User, wanted: DesiredUser) -> Action:
        renewed = needs_bundle(self.current, wanted, self.policy)
        key = self._key(before, wanted, renewed=renewed)
        origin = self.policy.origin if self.policy.adopt else before.origin
        after = replace(
            before, authorized_key=self._line(before.name, key, wanted.grant), grant=wanted.grant, origin=origin
        )
        reasons = [*_permissions(before.targets, after.targets), *_terms(before.grant, wanted.grant)]
        always = self.policy.regenerate == "always" and wanted.key is not None
        if renewed:
            reasons.append("it gets a new bundle; what it had does not serve any more")
            after = replace(after, enrolment=self._enrolment(wanted), certificate="")
        elif key != before.public_key:
            reasons.append("it has another key, and so another UUID")
            after = replace(after, enrolment=None)
        if always:
            reasons.append("its UUID and certificate are always made anew")
        if key != before.public_key or always or renewed:
            after = replace(after, uuid=self.making.uuid(wanted.name))
        issue = self._issues(before, wanted, always=always, renewed=renewed)
        if issue and not always and not renewed:
            reasons.append(f"it gets a certificate: {self.stale.get(before.name, 'it has none')}")
        elif not issue and wanted.csr is None and key != before.public_key and before.certificate and not renewed:
            after = replace(after, certificate="")
            reasons.append("its certificate was for the former key")
        if before.origin != origin:
            reasons.append(f"it is taken over from origin {before.origin}")
        if after == before and not issue:
            return Action(before.name, "keep", self._notes(before), before, after)
        told = tuple(reasons or ["its description changed"])
        return Action(before.name, "change", told, before, after, issue, bundle=renewed)

    def _key(self, before: User, wanted: DesiredUser, *, renewed: bool) -> str:
        if renewed:
            return self.making.key(wanted.name)
        return before.public_key if wanted.key is None else str(wanted.key)

    def _enrolment(self, wanted: DesiredUser) -> datetime | None:
        if wanted.bundle is None or wanted.bundle.kind != "enrolment":
            return None
        begin = max(self.making.now, wanted.grant.not_before or self.making.now)
        return begin.replace(microsecond=0) + timedelta(hours=wanted.bundle.hours)

    def _issues(self, before: User, wanted: DesiredUser, *, always: bool, renewed: bool) -> bool:
        if renewed:
            return wanted.bundle is not None and wanted.bundle.kind == "identity"
        if wanted.csr is None:
            return False
        if always or not before.certificate:
            return True
        return before.name in self.stale and self.policy.regenerate != "never"

    def _notes(self, user: User) -> tuple[str, ...]:
        now, ran_out, ended = self.making.now, user.enrolment, user.grant.expires
        if ended is not None and ended <= now:
            return (f"its access ended on {times.write(ended)}",)
        if ran_out is not None and ran_out <= now:
            return (f"its enrolment ran out unused on {times.write(ran_out)}; have its bundle made anew",)
        return ()

    def _line(self, name: str, key: str, grant: Grant) -> str:
        return authorized_keys.build(read_public_key(key), grant.targets(self.apps), f"{name}@{self.policy.tenant}")


def _permissions(before: frozenset[Target], after: frozenset[Target]) -> list[str]:
    reasons = []
    if gained := sorted(after - before):
        reasons.append(f"it may also reach {', '.join(map(str, gained))}")
    if lost := sorted(before - after):
        reasons.append(f"it may no longer reach {', '.join(map(str, lost))}")
    return reasons


def _terms(before: Grant, after: Grant) -> list[str]:
    reasons = []
    if before.expires != after.expires:
        reasons.append(f"its access ends on {times.write(after.expires)}" if after.expires else "its access has no end")
    if before.not_before != after.not_before:
        begin = f"begins on {times.write(after.not_before)}" if after.not_before else "begins at once"
        reasons.append(f"its access {begin}")
    if before.single_session != after.single_session:
        reasons.append(f"single_session is {after.single_session}")
    return reasons
