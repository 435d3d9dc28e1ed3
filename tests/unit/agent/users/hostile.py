"""Input that must be refused, and what is said of it: for the engine, and for the doors to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.unit.agent.users import samples

GOOD = str(samples.key(1))
PAST = "2020-01-31"


@dataclass(frozen=True)
class Bad:
    """Something bad, as module users takes it, and how the line begins that names its item and field."""

    what: str
    line: str
    users: dict[Any, Any] = field(default_factory=dict)
    apps: dict[Any, Any] | None = None
    more: dict[str, Any] = field(default_factory=dict)


def named(what: str, name: object, line: str) -> Bad:
    return Bad(what, line, {name: {"public_key": GOOD, "ports": [80]}})


def keyed(what: str, key: object, line: str) -> Bad:
    return Bad(what, f"users.bob.public_key: {line}", {"bob": {"public_key": key, "ports": [80]}})


def having(what: str, line: str, **fields: Any) -> Bad:
    return Bad(what, line, {"bob": {"public_key": GOOD, **({} if "ports" in fields else {"ports": [80]}), **fields}})


def bundled(what: str, line: str, wish: object, **more: Any) -> Bad:
    return Bad(what, line, {"bob": {"ports": [80], "bundle": wish}}, more=more)


def of_app(what: str, line: str, fields: object, name: object = "web") -> Bad:
    return Bad(what, line, apps={name: fields})


NAMES = [
    named(
        "newline in a name",
        "bob\nroot",
        "users['bob\\nroot']: no name for a user: 'bob\\nroot' is no lower-case DNS label (a-z,",
    ),
    named("dots", "..", "users[\"..\"]: no name for a user: '..' is no lower-case DNS label (a-z, 0-9 and inner"),
    named(
        "a path",
        "../../etc/shadow",
        "users[\"../../etc/shadow\"]: no name for a user: '../../etc/shadow' is no lower-case DNS",
    ),
    named(
        "quotes",
        'bob" permitopen="*:*',
        'users["bob" permitopen="*:*"]: no name for a user: \'bob" permitopen="*:*\' is no',
    ),
    named(
        "a leading dash", "-rf", "users.-rf: no name for a user: '-rf' is no lower-case DNS label (a-z, 0-9 and inner"
    ),
    named(
        "a space", "bob smith", "users[\"bob smith\"]: no name for a user: 'bob smith' is no lower-case DNS label (a-z,"
    ),
    named(
        "a Cyrillic look-alike",
        "b\u043eb",
        "users['b\\u043eb']: no name for a user: 'b\\u043eb' is no lower-case DNS label (a-z, 0-9",
    ),
    named(
        "10,000 characters",
        "b" * 10_000,
        'users["bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb...]: no name for a',
    ),
    named("capitals", "Bob", "users.Bob: no name for a user: 'Bob' is no lower-case DNS label (a-z, 0-9 and inner"),
    named("nothing", "", "users[\"\"]: no name for a user: '' is no lower-case DNS label (a-z, 0-9 and inner"),
    named("a number for a name", 7, "users[7]: 7 is no name; accepted: a text (put it in quotes)"),
    named("the server's own name", "server", "users.server: no name for a user: 'server' is reserved"),
]
KEYS = [
    keyed("a truncated key", GOOD[:-12], "is cut short"),
    keyed("a DSA key", samples.dsa_line(), "is a DSA key, which is broken; make a new one with ssh-keygen -t ed25519"),
    keyed(
        "an RSA key of 1024 bits",
        samples.weak_rsa_line(),
        "is an RSA key of 1024 bits; accepted: 2048 to 16384, or better ssh-ed25519",
    ),
    keyed(
        "a private key",
        samples.private_text(),
        "is a private key; give the public one (the file that ends in .pub) and make a new pair",
    ),
    keyed("two keys on one line", f"{GOOD} {samples.key(2)}", "holds two keys; one is wanted"),
    keyed("two keys on two lines", f"{GOOD}\n{samples.key(2)}", "has several lines; one public key is wanted"),
    keyed(
        "a key with options",
        f'permitopen="*:*" {GOOD}',
        "begins with options; give the key alone, what it permits is derived from apps and ports",
    ),
    keyed("a certificate", "ssh-ed25519-cert-v01@openssh.com AAAA", "is a certificate; a plain public key is wanted"),
    keyed(
        "a key of another type than it says",
        GOOD.replace("ssh-ed25519", "ssh-rsa", 1),
        "is damaged: it says ssh-rsa, but its data is of another type",
    ),
    keyed("no key at all", "ssh-ed25519", "ends after its type ssh-ed25519"),
    keyed("no base64", "ssh-ed25519 ????", "is damaged: the word after its type is no base64"),
    keyed("a huge one", "ssh-ed25519 " + "A" * 5000, "has 5012 characters; no public key is that long"),
    keyed("a list", [GOOD], "is no text; a public key such as 'ssh-ed25519 AAAA...' is wanted"),
    Bad(
        "one key for two users",
        'users.eve.public_key: is the key of user "bob" too',
        {"bob": {"public_key": GOOD, "ports": [80]}, "eve": {"public_key": GOOD, "ports": [80]}},
    ),
]
PORTS = [
    having(
        "port 0", "users.bob.ports[0]: 0 is no port; accepted: a whole number from 1 to 65535, or host:port", ports=[0]
    ),
    having(
        "port 65536",
        "users.bob.ports[0]: 65536 is no port; accepted: a whole number from 1 to 65535, or",
        ports=[65536],
    ),
    having(
        "a negative port", "users.bob.ports[0]: -1 is no port; accepted: a whole number from 1 to 65535, or", ports=[-1]
    ),
    having(
        "a range",
        'users.bob.ports[0]: "80-90" is no port; accepted: a whole number from 1 to 65535, or',
        ports=["80-90"],
    ),
    having(
        "a reversed range",
        'users.bob.ports[0]: "90-80" is no port; accepted: a whole number from 1 to 65535, or',
        ports=["90-80"],
    ),
    having(
        "a fraction", "users.bob.ports[0]: 80.5 is no port; accepted: a whole number from 1 to 65535, or", ports=[80.5]
    ),
    having("yes", "users.bob.ports[0]: True is no port; accepted: a whole number from 1 to 65535, or", ports=[True]),
    having(
        "a name", 'users.bob.ports[0]: "http" is no port; accepted: a whole number from 1 to 65535, or', ports=["http"]
    ),
    having(
        "an injection",
        'users.bob.ports[0]: "80",permitopen="*" is no host; accepted: a host name or an IP',
        ports=['80",permitopen="*:*'],
    ),
    having("a port twice", "users.bob.ports[1]: port 80 is there already, as users.bob.ports[0]", ports=[80, "80"]),
    having("no list", "users.bob.ports: 80 is no list", ports=80),
    having("nothing at all", "users.bob: needs at least one of apps and ports", ports=[]),
    having(
        "a host nobody declared",
        'users.bob: host "db.lan" is not declared for this server (server_target_hosts: none)',
        ports=["db.lan:5432"],
    ),
    having(
        "a host that is none",
        'users.bob.ports[0]: "d b" is no host; accepted: a host name or an IP address',
        ports=["d b:5432"],
    ),
    having(
        "a local port for a port it does not have",
        "users.bob.local_ports.81: 81 is not among the ports; known: 80",
        local_ports={81: 8081},
    ),
    having(
        "a local port out of range",
        "users.bob.local_ports.80: 65536 is no port; accepted: a whole number from 1 to 65535",
        local_ports={80: 65536},
    ),
    having(
        "two ports at one local port",
        "users.bob: ports 80 and 81 would both be at local port 81; choose others under",
        ports=[80, 81],
        local_ports={80: 81},
    ),
]
TERMS = [
    having(
        "a day that is over",
        "users.bob.expires: 2020-02-01T00:00:00Z is past; give a later one, or state absent",
        expires=PAST,
    ),
    having(
        "a day in another order",
        'users.bob.expires: "31.01.2099" is no date; accepted: a day such as 2027-01-31, or a',
        expires="31.01.2099",
    ),
    having(
        "a word",
        'users.bob.expires: "soon" is no date; accepted: a day such as 2027-01-31, or a moment',
        expires="soon",
    ),
    having(
        "a day there is not",
        'users.bob.expires: "2099-02-30" is no date; accepted: a day such as 2027-01-31, or a',
        expires="2099-02-30",
    ),
    having(
        "the end before the beginning",
        "users.bob.expires: 2099-01-02T00:00:00Z is not after not_before, 2099-02-01T00:00:00Z",
        not_before="2099-02-01",
        expires="2099-01-01",
    ),
    having("a number for a day", "users.bob.not_before: 20990131 is no date; accepted:", not_before=20990131),
    having(
        "another kind of session",
        'users.bob.single_session: "maybe" is not known; accepted: off, refuse, takeover',
        single_session="maybe",
    ),
    having(
        "a comment on two lines",
        "users.bob.comment: 'a\\nb' is no text on one line of at most 200 characters",
        comment="a\nb",
    ),
    having(
        "a long comment",
        'users.bob.comment: "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx... is no',
        comment="x" * 201,
    ),
    having("an unknown app", 'users.bob.apps[0]: unknown app "pgs" (did you mean "pg"? known: pg', apps=["pgs"]),
    having("an app twice", 'users.bob.apps[1]: app "pg" is there already, as users.bob.apps[0]', apps=["pg", "pg"]),
    having(
        "an unknown key",
        'users.bob.expire: unknown key (did you mean "expires"? known: apps, bundle, comment,',
        expire="2099-01-01",
    ),
    having("an unknown state", 'users.bob.state: unknown state "gone" (known: absent, present)', state="gone"),
    having("a request that is none", "users.bob.csr: is no certificate request in PEM form", csr="x"),
    having(
        "a private key for a request",
        "users.bob.csr: is a private key; a certificate request is wanted",
        csr=samples.private_text(),
    ),
    Bad(
        "no way to credentials",
        "users.bob: needs host (a host of tw_clients, which makes its own key), bundle, or",
        {"bob": {"ports": [80]}},
    ),
    Bad(
        "a request without a key",
        "users.bob: has a csr but no public_key",
        {"bob": {"host": "c", "csr": "x", "ports": [80]}},
    ),
    Bad("no mapping", 'users.bob: "80" is no mapping', {"bob": "80"}),
]
BUNDLES = [
    having(
        "a bundle and a key",
        "users.bob: has bundle beside host or public_key; one way to its credentials is enough",
        bundle={},
    ),
    bundled(
        "an unknown kind of bundle",
        'users.bob.bundle.kind: unknown kind of bundle "zip" (known: enrolment, identity)',
        {"kind": "zip"},
    ),
    bundled("no hours", "users.bob.bundle.hours: 0 is not accepted; a whole number from 1 to 2160 is", {"hours": 0}),
    bundled(
        "too many hours",
        "users.bob.bundle.hours: 100000 is not accepted; a whole number from 1 to 2160 is",
        {"hours": 100_000},
    ),
    bundled(
        "a recipient that is a secret key",
        "users.bob.bundle.to: is a secret key; give the recipient that belongs to it (age1...)",
        {"to": "AGE-SECRET-KEY-1QQQ"},
    ),
    bundled(
        "a recipient that is damaged",
        'users.bob.bundle.to: "age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq... is',
        {"to": "age1" + "q" * 58},
    ),
    bundled(
        "a recipient of another kind",
        "users.bob.bundle.to: is a key of type ecdsa-sha2-nistp256; age encrypts to ssh-ed25519",
        {"to": samples.real_lines()["ecdsa-sha2-nistp256"]},
    ),
    bundled(
        "a recipient that is a private SSH key",
        "users.bob.bundle.to: is a private key; give the public one (the file that ends in .pub)",
        {"to": samples.private_text()},
    ),
    bundled(
        "nothing to seal a bundle with",
        "users.bob.bundle: nothing to seal it with is given; accepted: to (an age recipient or",
        {},
    ),
    bundled("a short passphrase", "passphrases.bob: has less than 12 characters", {}, passphrases={"bob": "short"}),
    bundled(
        "a number for a passphrase",
        "passphrases.bob: is no text; put it in quotes",
        {},
        passphrases={"bob": 123456789012},
    ),
    bundled(
        "a passphrase nobody can type",
        "passphrases.bob: holds characters that nobody can type",
        {},
        passphrases={"bob": "correct\x07horse battery"},
    ),
    bundled(
        "no relay",
        "relay: is missing; bundles are to be made now for: bob",
        {"to": samples.real_lines()["ssh-ed25519"]},
        relay=None,
    ),
    Bad("a bundle for nobody", 'renew_bundles: unknown user "bbo" (none is known)', more={"renew_bundles": ["bbo"]}),
    Bad(
        "a new bundle for who has none",
        'renew_bundles: user "bob" has no bundle',
        {"bob": {"public_key": GOOD, "ports": [80]}},
        more={"renew_bundles": ["bob"]},
    ),
]
OF_APPS = [
    of_app(
        "an app's bad name",
        "apps['We\\nb']: no name for an app: 'We\\nb' is no lower-case DNS label (a-z, 0-9 and",
        {"ports": [80]},
        "We\nb",
    ),
    of_app("an app without ports", "apps.web.ports: is missing; accepted: a list with at least one port", {}),
    of_app(
        "an app with port 0",
        "apps.web.ports[0]: 0 is no port; accepted: a whole number from 1 to 65535",
        {"ports": [0]},
    ),
    of_app(
        "an app at a host nobody declared",
        'apps.web: host "web.lan" is not declared for this server (server_target_hosts: none)',
        {"ports": [80], "host": "web.lan"},
    ),
    of_app(
        "a description on two lines",
        "apps.web.description: 'a\\nb' is no text on one line of at most 200 characters",
        {"ports": [80], "description": "a\nb"},
    ),
    of_app("an app that is no mapping", "apps.web: [80] is no mapping", [80]),
    of_app(
        "an app's unknown key",
        'apps.web.prots: unknown key (did you mean "ports"? known: description, host,',
        {"ports": [80], "prots": [81]},
    ),
    Bad(
        "a tenant that is a path",
        "tenant: '../x' is no lower-case DNS label (a-z, 0-9 and inner hyphens)",
        more={"tenant": "../x"},
    ),
    Bad("a reserved tenant", "tenant: 'operator' is reserved", more={"tenant": "operator"}),
]
ALL = [*NAMES, *KEYS, *PORTS, *TERMS, *BUNDLES, *OF_APPS]
