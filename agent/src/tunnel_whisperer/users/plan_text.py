"""Users and apps as text for people, secrets masked: what a diff shows. Standard library only."""

from tunnel_whisperer.users import times
from tunnel_whisperer.users.grants import App
from tunnel_whisperer.users.keys import read_public_key
from tunnel_whisperer.users.model import User


def describe_app(app: App) -> str:
    """Tell of an app."""
    local = ", ".join(f"{target.port} at {port}" for target, port in app.local_ports.items())
    return (
        f"app {app.name}:\n"
        f"  targets: {', '.join(map(str, app.targets))}\n"
        f"  local ports: {local or 'the same'}\n"
        f"  description: {app.description or 'none'}\n"
        f"  origin: {app.origin}\n"
    )


def describe_user(user: User, former: User | None = None, *, issue: bool = False) -> str:
    """Tell of a user; `former` is the same one before the change, `issue` says that its certificate is made anew."""
    grant = user.grant
    renewed = former is not None and former.uuid != user.uuid
    certificate = "(made anew)" if issue else "(as it is)" if user.certificate else "none"
    lines = {
        "key": read_public_key(user.public_key).fingerprint,
        "targets": ", ".join(map(str, sorted(user.targets))),
        "apps": ", ".join(grant.apps) or "none",
        "ports": ", ".join(str(target.as_data()) for target in grant.ports) or "none",
        "not before": times.write(grant.not_before) if grant.not_before else None,
        "expires": times.write(grant.expires) if grant.expires else None,
        "single session": None if grant.single_session == "off" else grant.single_session,
        "comment": grant.comment or None,
        "enrolment until": times.write(user.enrolment) if user.enrolment else None,
        "origin": user.origin,
        "uuid": "(another secret)" if renewed else "(secret)",
        "certificate": certificate,
    }
    return f"{user.name}:\n" + "".join(f"  {key}: {text}\n" for key, text in lines.items() if text is not None)
