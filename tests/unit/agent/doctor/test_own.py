"""Our own certificate and our own Xray."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.carrier.certificates import Issued, authority, leaf
from tunnel_whisperer.doctor import own
from tunnel_whisperer.doctor.result import TroubleError
from tunnel_whisperer.identity import Identity

NAME = "alice.acme.tw.internal"


def identity(directory: Path, issued: Issued) -> Identity:
    made = Identity(directory)
    issued.write(made.tls_chain, made.tls_key)
    return made


@pytest.fixture
def signer() -> Issued:
    return authority("Acme")


async def test_a_good_certificate(tmp_path: Path, signer: Issued) -> None:
    found = await own.certificate(identity(tmp_path, leaf(NAME, signer=signer)), "acme", "alice")
    assert (found.details, found.advice) == (f"{NAME}, 89 days left", "")


async def test_an_operators_certificate_may_be_anybodys_of_the_entry(tmp_path: Path, signer: Issued) -> None:
    made = identity(tmp_path, leaf("spare.operator.tw.internal", signer=signer))
    assert (await own.certificate(made, "operator", None)).details.startswith("spare.operator.")


async def test_one_that_should_have_been_renewed(tmp_path: Path, signer: Issued) -> None:
    made = identity(tmp_path, leaf(NAME, signer=signer, days=90, backdated=80))
    assert "should have been renewed at half of its life" in (await own.certificate(made, "acme", "alice")).advice


@pytest.mark.parametrize(
    ("name", "days", "backdated", "words"),
    [
        (NAME, 10, 20, "our certificate ended on "),
        (NAME, 10, -5, "our certificate begins only on "),
        ("bob.acme.tw.internal", 90, 1, "is for bob.acme.tw.internal instead of alice.acme.tw.internal"),
        ("alice.other.tw.internal", 90, 1, "is for alice.other.tw.internal instead of alice.acme.tw.internal"),
    ],
)
async def test_one_that_cannot_work(
    tmp_path: Path, signer: Issued, name: str, days: int, backdated: int, words: str
) -> None:
    made = identity(tmp_path, leaf(name, signer=signer, days=days, backdated=backdated))
    with pytest.raises(TroubleError) as caught:
        await own.certificate(made, "acme", "alice")
    assert words in caught.value.details
    assert caught.value.action


async def test_an_xray_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TroubleError, match="it cannot be run: No such file or directory"):
        await own.xray(tmp_path / "xray")


async def test_something_that_is_no_xray() -> None:
    with pytest.raises(TroubleError, match="it says: "):
        await own.xray(Path("/bin/echo"))
