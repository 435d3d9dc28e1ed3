#!/usr/bin/python
# Copyright: (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proves on a client host that its bridges work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: proof
short_description: Prove a client's bridges
version_added: 0.1.0
author:
  - The Tunnel Whisperer maintainers (@tunnel-whisperer)
description:
  - Lets C(tw test) try every step to the far end for each context, and opens every bridge by its real local port.
  - A bridge is good when its context has a link that is up, its local port takes the connection, and the far end keeps
    it. An application that greets is heard.
  - Changes nothing, so it does the same in check mode.
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  platform:
    platforms: linux
options:
  contexts:
    description:
      - Contexts by name, each with its C(bridges), as M(tunnel_whisperer.tw.plan) returns them.
    type: dict
    required: true
  patience:
    description:
      - Seconds within which everything has to be good; links that were just started need a moment.
    type: float
    default: 30
  listen:
    description:
      - Seconds for which an opened bridge is watched. The server closes it within this time when the port is not
        permitted, or nobody listens there. That there is no link at all does not show so soon, as the daemon lets
        connections wait for one; its status tells.
    type: float
    default: 2
  command:
    description:
      - The command C(tw).
    type: path
    default: /usr/local/bin/tw
"""

EXAMPLES = r"""
- name: Prove the bridges of this client
  tunnel_whisperer.tw.proof:
    contexts:
      acme:
        bridges:
          - {name: postgres, host: 127.0.0.1, port: 5432, local_port: 5432}
"""

RETURN = r"""
rows:
  description: What was tried, one row each.
  returned: always
  type: list
  elements: dict
  sample:
    - {context: acme, what: 'bridge postgres at 127.0.0.1:5432', good: true, seconds: 0.13, told: 'open'}
good:
  description: Whether all of it is good.
  returned: always
  type: bool
"""

import json
import selectors
import socket
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

PAUSE = 1.0

Row = dict[str, Any]
Contexts = dict[str, dict[str, Any]]
Faults = dict[tuple[str, str], str]


class Opening:
    """One bridge being opened by its local port; `fault` is what its daemon says is wrong with that port."""

    def __init__(self, context: str, bridge: dict[str, Any], fault: str = "") -> None:
        self.context = context
        self.fault = fault
        self.place = (bridge.get("listen", "127.0.0.1"), int(bridge["local_port"]))
        self.name = bridge["name"]
        self.began = time.monotonic()
        self.seconds = 0.0
        self.good, self.told = False, ""
        self.socket: socket.socket | None = None

    def start(self, selector: selectors.BaseSelector) -> None:
        """Connect; the far end's answer is waited for elsewhere."""
        if self.fault:
            self.end(False, self.fault)
            return
        try:
            self.socket = socket.create_connection(self.place, timeout=5)
        except OSError as error:
            self.end(False, f"nothing takes the connection: {error.strerror or error}")
            return
        self.socket.setblocking(False)
        selector.register(self.socket, selectors.EVENT_READ, self)

    def heard(self, connection: socket.socket) -> None:
        """Note what the far end did first."""
        try:
            greeting = connection.recv(256)
        except OSError as error:
            self.end(False, f"cut: {error.strerror or error}")
            return
        if greeting:
            self.end(True, "open, the application greets")
        else:
            self.end(False, "taken and closed again: the far end could not be reached")

    def end(self, good: bool, told: str) -> None:
        """Keep the outcome."""
        self.good, self.told = good, told
        self.seconds = round(time.monotonic() - self.began, 3)
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def row(self) -> Row:
        """Return the outcome as data."""
        what = f"bridge {self.name} at {self.place[0]}:{self.place[1]}"
        return {"context": self.context, "what": what, "good": self.good, "seconds": self.seconds, "told": self.told}


def open_bridges(contexts: Contexts, listen: float, faults: Faults) -> list[Row]:
    """Open all bridges at once by their local ports, and watch them for a while."""
    openings = [
        Opening(name, bridge, faults.get((name, bridge["name"]), ""))
        for name, context in contexts.items()
        for bridge in context["bridges"]
    ]
    with selectors.DefaultSelector() as selector:
        for opening in openings:
            opening.start(selector)
        deadline = time.monotonic() + listen
        while selector.get_map() and (left := deadline - time.monotonic()) > 0:
            for key, _events in selector.select(left):
                selector.unregister(key.fileobj)
                key.data.heard(key.fileobj)
        for key in list(selector.get_map().values()):
            selector.unregister(key.fileobj)
            key.data.end(True, "open, waits for us to speak")
    return [opening.row() for opening in openings]


def tested_rows(name: str, code: int, out: str, err: str) -> list[Row]:
    """Read what C(tw test) says of one context."""
    try:
        checks = json.loads(out)["checks"]
    except (ValueError, KeyError, TypeError):
        words = (err.strip() or out.strip()).splitlines()
        told = words[-1].strip() if words else f"it ended with code {code} and no word"
        return [{"context": name, "what": "tw test", "good": False, "seconds": 0.0, "told": told}]
    return [
        {
            "context": name,
            "what": f"{check['component']} {check['target']}",
            "good": check["status"] != "failed",
            "seconds": round(check["duration_ms"] / 1000, 3),
            "told": " -> ".join(part for part in (check["details"], check["action"]) if part),
        }
        for check in checks
    ]


def local_faults(contexts: Contexts, out: str) -> Faults:
    """Read from C(tw status) what an opened bridge would not show soon, or not at all.

    A port that is not its daemon's may be answered by a stranger; without a link that is up, a connection is held and
    nothing said.
    """
    try:
        daemons = {daemon["name"]: daemon for daemon in json.loads(out)["daemons"] if daemon["kind"] == "connect"}
    except (ValueError, KeyError, TypeError):
        daemons = {}
    faults: Faults = {}
    for name, context in contexts.items():
        daemon = daemons.get(name, {})
        states = {bridge["name"]: bridge for bridge in daemon.get("bridges", ())}
        links = {link["state"]: link["reason"] for link in daemon.get("links", ())}
        for bridge in context["bridges"]:
            found = states.get(bridge["name"])
            if found is None:
                faults[name, bridge["name"]] = "the daemon of this context does not run, or does not know this bridge"
            elif found["state"] != "listening":
                faults[name, bridge["name"]] = f"the daemon does not listen there: {found['reason'] or found['state']}"
            elif "up" not in links:
                faults[name, bridge["name"]] = (
                    f"none of its links is up: {'; '.join(links.values()) or 'there is none'}"
                )
    return faults


def run_once(module: AnsibleModule, contexts: Contexts) -> list[Row]:
    """Try everything once."""
    rows: list[Row] = []
    for name in contexts:
        code, out, err = module.run_command([module.params["command"], "test", "--json", name])
        rows += tested_rows(name, code, out, err)
    _code, out, _err = module.run_command([module.params["command"], "status", "--json"])
    return rows + open_bridges(contexts, module.params["listen"], local_faults(contexts, out))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "contexts": {"type": "dict", "required": True},
            "patience": {"type": "float", "default": 30},
            "listen": {"type": "float", "default": 2},
            "command": {"type": "path", "default": "/usr/local/bin/tw"},
        },
        supports_check_mode=True,
    )
    contexts = module.params["contexts"]
    deadline = time.monotonic() + module.params["patience"]
    while True:
        rows = run_once(module, contexts)
        good = all(row["good"] for row in rows)
        if good or time.monotonic() > deadline:
            module.exit_json(changed=False, good=good, rows=rows)
        time.sleep(PAUSE)


if __name__ == "__main__":
    main()
