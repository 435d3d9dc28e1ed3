"""A bundle becomes a context of this host; one for enrolment goes through its exchange first."""

import contextlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from tunnel_whisperer import enrolment
from tunnel_whisperer.bundle import ENROLMENT, Bundle
from tunnel_whisperer.files import Change, Transaction
from tunnel_whisperer.places import Place
from tunnel_whisperer.provision import bundles


def bring_in(
    bundle: Bundle,
    place: Place,
    name: str,
    *,
    where: str,
    now: datetime,
    xray: Path,
    exchange: enrolment.Exchange,
    replace_it: bool = False,
    pretend: bool = False,
) -> tuple[Bundle, Sequence[Change]]:
    """Have context `name` in `place`; return the bundle with what is in force now, and the changes of files.

    With `pretend` nothing changes, and nothing is exchanged. Raises TwError, which names `where` the bundle came from.
    """
    enrolment.check_until(bundle, where=where, now=now)
    bundles.check_free(place, name, bundle, now=now, replace_it=replace_it)
    enrolling = bundle.kind == ENROLMENT
    if enrolling and pretend:
        return bundle, ()
    if enrolling:
        bundle = enrolment.enrol(bundle, place, xray, exchange, where=where)
    with enrolment.used_up(where) if enrolling else contextlib.nullcontext(), Transaction() as transaction:
        bundles.install(transaction, place, name, bundle, now=now, xray=xray, replace_it=replace_it)
        if not pretend:
            transaction.commit()
        return bundle, transaction.changes
