"""The power goes, or the disk is full, at every write of the engine: what is there is the old or the new, whole."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.unit.agent.files.faults import failures, power_cuts
from tests.unit.agent.files.trees import NOBODY, ROOT, Tree, tree, without_leftovers
from tests.unit.agent.provision.world import World, result
from tests.unit.agent.users import samples
from tunnel_whisperer import identity, pki
from tunnel_whisperer.errors import TwError
from tunnel_whisperer.files import KEEP_OWNER, Owner, Transaction
from tunnel_whisperer.identity import Identity
from tunnel_whisperer.provision.contexts import PrivateKeys, provision_contexts
from tunnel_whisperer.provision.users import Place
from tunnel_whisperer.users.model import UserSet
from tunnel_whisperer.users.store import load_users

APPS = {"pg": {"ports": [5432]}, "web": {"ports": [80]}}
FIRST = {
    "alice": {"public_key": str(samples.key(1)), "apps": ["pg"]},
    "bob": {"bundle": {"kind": "identity"}, "ports": [80]},
    "carol": {"bundle": {}, "apps": ["pg", "web"]},
}
THEN = {"alice": {"public_key": str(samples.key(1)), "apps": ["web"]}, "dora": {"bundle": {}, "ports": [81]}}


class Moment:
    """A world as it was at a moment, to come back to: paths stand in its files, so it stays in its place."""

    def __init__(self, world: World, tmp_path_factory: pytest.TempPathFactory) -> None:
        self.world = world
        self.tree = tree(world.root)
        self._copy = tmp_path_factory.mktemp("moment") / "copy"
        shutil.copytree(world.root, self._copy, symlinks=True)

    def restore(self) -> None:
        """Have everything as it was then."""
        for path in self.world.root.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(self._copy, self.world.root, symlinks=True, dirs_exist_ok=True)
        for name, (_mode, uid, gid, _content) in self.tree.items():
            os.chown(self.world.root / name, uid, gid)


Remember = Callable[[], Moment]


@pytest.fixture
def remember(world: World, tmp_path_factory: pytest.TempPathFactory) -> Remember:
    """Remembers the world as it is now."""
    return lambda: Moment(world, tmp_path_factory)


def leftovers(root: Path) -> list[str]:
    return [name for name in tree(root) if ".tw-" in name]


def told(users: UserSet) -> tuple[int, dict[str, Any], list[str]]:
    """What counts of a set of users; secrets are others each time."""
    known = {name: (user.grant, sorted(user.targets), bool(user.certificate)) for name, user in users.items()}
    return users.generation, known, list(users.apps)


@pytest.fixture(params=["ours", "theirs"] if ROOT else ["ours"])  # only root can give files away
def kept_by(request: pytest.FixtureRequest, world: World) -> None:
    """Keep the users in a folder of ours, or in one of the daemon's own user as on a real server."""
    owner = Owner(NOBODY, NOBODY) if request.param == "theirs" else KEEP_OWNER
    world.place = Place(world.root / "serve", world.root / "state" / "serve" / "users.json", owner)


@pytest.mark.usefixtures("kept_by")
@pytest.mark.parametrize("wanted", [FIRST, THEN, {}], ids=["none-some", "some-others", "some-none"])
def test_users_are_the_old_or_the_new_set_whenever_the_power_goes(
    world: World, remember: Remember, wanted: dict[str, Any]
) -> None:
    if wanted is not FIRST:
        world.users(FIRST, apps=APPS)
    moment, old = remember(), told(load_users(world.place.users_file))
    world.users(wanted, apps=APPS)
    new = told(load_users(world.place.users_file))
    seen = []
    for _ in power_cuts(moment.restore, lambda: world.users(wanted, apps=APPS)):
        found = told(load_users(world.place.users_file))
        assert found in (old, new)
        seen.append(found)
        world.users(wanted, apps=APPS)
        assert told(load_users(world.place.users_file)) == new
        assert leftovers(world.root) == []
        world.users(wanted, apps=APPS)
        assert world.changed() == []
    assert len(seen) > 6
    assert seen[0] == old
    assert seen[-1] == new


@pytest.mark.usefixtures("kept_by")
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_users_stay_as_they_were_when_a_write_fails(world: World, remember: Remember, number: int) -> None:
    world.users(FIRST, apps=APPS)
    moment = remember()
    world.users(THEN, apps=APPS)
    new = told(load_users(world.place.users_file))
    errors = list[TwError | None]()
    for error in failures(moment.restore, lambda: world.users(THEN, apps=APPS), number):
        errors.append(error)
        if error is not None:
            assert f"nothing was changed: {os.strerror(number)}" in str(error)
            assert without_leftovers(tree(world.root)) == moment.tree
        else:
            assert told(load_users(world.place.users_file)) == new
    assert sum(error is not None for error in errors) > 5


def contexts_at(root: Path, place: str = "connect") -> Tree:
    return {name: its for name, its in tree(root).items() if name.startswith(f"{place}/") and ".tw-" not in name}


def install(world: World, told: dict[str, Any], **more: Any) -> Callable[[], object]:
    return lambda: world.contexts(**world.final(told, **more))


def replace_all(world: World, given: dict[str, Any], keys: PrivateKeys) -> Callable[[], object]:
    """As an import does with --replace: everything a context has becomes another, its keys too."""

    def work() -> None:
        with Transaction() as transaction:
            context = {"tenant": "acme", "user": "alice", **given}
            provision_contexts(
                transaction,
                world.root / "connect",
                {"acme": context},
                now=world.now,
                origin="inventory",
                keys={"acme": keys},
            )
            transaction.commit()

    return work


def check_context(world: World, before: Tree, after: Tree | None, work: Callable[[], object]) -> None:
    """A context is as it was or as it is to be; the next run completes it and leaves nothing behind."""
    found = contexts_at(world.root)
    if after is not None:
        assert found in (before, after)
    if "connect/acme/connect.yml" in found:
        Identity(world.root / "connect" / "acme").check_tls()
    work()
    if after is not None:
        assert contexts_at(world.root) == after
    assert leftovers(world.root) == []


def test_the_keys_of_a_context_are_all_there_or_none(world: World, remember: Remember) -> None:
    moment = remember()
    cuts = 0
    for _ in power_cuts(moment.restore, world.contexts):
        names = {name for name in contexts_at(world.root) if name.count("/") == 2}
        assert names in (
            set(),
            {f"connect/acme/{name}" for name in ("id_ed25519", "id_ed25519.pub", "origin", "tls.key")},
        )
        check_context(world, {}, None, world.contexts)
        cuts += 1
    assert cuts > 20


def test_a_context_is_usable_or_as_before_whenever_the_power_goes(world: World, remember: Remember) -> None:
    told = result(world.users(world.alice()))
    roots = pki.pem(pki.make_root(world.now).certificate)
    prepared = remember()
    first = install(world, told, relay={"host": "relay.example.com", "roots": roots})
    first()
    installed = remember()
    world.now += timedelta(days=46)
    renewed = result(world.users(world.alice(), regenerate="always"))
    assert (renewed["uuid"], renewed["certificate"]) != (told["uuid"], told["certificate"])
    then = install(world, renewed, relay={"host": "other.example.com"}, bridges=[{"name": "web", "port": 80}])
    for moment, work in ((prepared, first), (installed, then)):
        moment.restore()
        before = contexts_at(world.root)
        work()
        after = contexts_at(world.root)
        assert before != after
        cuts = 0
        for _ in power_cuts(moment.restore, work):
            check_context(world, before, after, work)
            cuts += 1
        assert cuts > 20


def test_a_context_that_is_replaced_has_its_old_or_its_new_keys(world: World, remember: Remember) -> None:
    install(world, result(world.users(world.alice())))()
    keys = PrivateKeys(pki.make_ssh_key(), pki.encode_key(pki.make_key()))
    key = pki.load_key(keys.tls)
    asked = {"public_key": pki.ssh_public_line(keys.ssh, "x"), "csr": pki.make_csr(key, "x").decode(), "ports": [1]}
    moment = remember()
    given = world.final(result(world.users({"alice": asked})))
    before = contexts_at(world.root)
    work = replace_all(world, given, keys)
    work()
    after = contexts_at(world.root)
    for _ in power_cuts(moment.restore, work):
        check_context(world, before, after, work)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_contexts_stay_as_they_were_when_a_write_fails(world: World, remember: Remember, number: int) -> None:
    told = result(world.users(world.alice()))
    moment = remember()
    errors = list[TwError | None]()
    for error in failures(moment.restore, install(world, told), number):
        errors.append(error)
        assert error is None or without_leftovers(tree(world.root)) == moment.tree
    assert sum(error is not None for error in errors) > 20


def purge(world: World) -> None:
    with Transaction() as transaction:
        provision_contexts(transaction, world.root / "connect", {}, now=world.now, origin="inventory", purge=True)
        transaction.commit()


def test_a_context_that_nobody_wants_is_there_or_gone(world: World, remember: Remember) -> None:
    install(world, result(world.users(world.alice())))()
    moment, before = remember(), contexts_at(world.root)
    seen = []
    for _ in power_cuts(moment.restore, lambda: purge(world)):
        seen.append(contexts_at(world.root))
        assert seen[-1] in (before, {})
        purge(world)
        assert leftovers(world.root) == []
        assert contexts_at(world.root) == {}
    assert {len(found) for found in seen} == {len(before), 0}


def certified(world: World, chain: str | None) -> Callable[[], object]:
    return lambda: world.tenant(chain)


def test_a_tenants_identity_serves_or_is_completed_whenever_the_power_goes(world: World, remember: Remember) -> None:
    (world.root / "users.json").unlink(missing_ok=True)
    full = remember()
    chain = (world.root / "serve" / identity.CA_CHAIN).read_text()
    for name in (identity.CA_CHAIN, identity.TLS_CHAIN):
        (world.root / "serve" / name).unlink()
    unsigned = remember()
    shutil.rmtree(world.root / "serve")
    nothing = remember()
    for moment, work in ((nothing, certified(world, None)), (unsigned, certified(world, chain))):
        cuts = 0
        for _ in power_cuts(moment.restore, work):
            for name, its in moment.tree.items():
                assert tree(world.root).get(name) == its, "what was there stays"
            if (world.root / "serve" / identity.TLS_CHAIN).exists():
                Identity(world.root / "serve").check_tls()
            work()
            assert leftovers(world.root) == []
            assert set(tree(world.root)) | {"serve/ca.crt", "serve/tls.crt"} == set(full.tree)
            cuts += 1
        assert cuts > 10


def test_the_relays_authority_is_completed_after_any_cut(world: World, remember: Remember) -> None:
    csr = world.tenant().csr
    shutil.rmtree(world.root / "control")
    moment = remember()
    for _ in power_cuts(moment.restore, lambda: world.authority(csr)):
        made = world.authority(csr)
        leaf, root = pki.read_certificates(made.tenants["acme"])
        leaf.verify_directly_issued_by(root)
        assert pki.pem(root) == made.root_certificate
        assert leftovers(world.root) == []
