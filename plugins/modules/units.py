#!/usr/bin/python
# Copyright: (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Systemd units that run, and run with what their files say now."""

from __future__ import annotations

DOCUMENTATION = r"""
module: units
short_description: Keep systemd units running with what their files say
version_added: 0.1.0
description:
  - Enables and starts units, several in one call, and restarts or reloads those whose files are younger than what the
    process last read. It remembers nothing between runs and compares times instead, so a restart owed by a run that
    failed half way is made up for.
  - A unit that does not come up fails the task, with the end of its journal.
  - In check mode a unit whose file is not there yet is reported as one that would be started.
author:
  - The Tunnel Whisperer maintainers (@tunnel-whisperer)
options:
  units:
    description:
      - The units, in the order they are to be started.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - Name of the unit with its suffix, as in V(tw-caddy.service).
        type: str
        required: true
      state:
        description:
          - Whether the unit is to run, or to be stopped and disabled.
        type: str
        choices: [present, absent]
        default: present
      enabled:
        description:
          - Whether the unit is started at boot.
        type: bool
        default: true
      restart_on:
        description:
          - Files that are read at the start only. The unit's own file and its drop-ins are always among them.
        type: list
        elements: str
        default: []
      reload_on:
        description:
          - Files that are read again at a reload.
        type: list
        elements: str
        default: []
      instances:
        description:
          - For the name of a template, as in V(tw-xray@.service), the instances that are meant. C(%i) in the names of
            files stands for each of them.
        type: list
        elements: str
  pending:
    description:
      - Files that this run changes, as other modules return them. Check mode needs to be told, as nothing changed on
        disk, and then says of each unit what a real run would do; otherwise it is not looked at.
    type: list
    elements: str
    default: []
  settle:
    description:
      - Seconds a unit that was started has to stay up to count as running.
    type: float
    default: 0.5
extends_documentation_fragment:
  - tunnel_whisperer.tw.attributes
attributes:
  diff_mode:
    description: Tells what has changed, or would change, when in diff mode.
    support: none
    details:
      - It says what it does with which unit, and why, in its result.
"""

EXAMPLES = r"""
- name: Run Caddy with what its configuration says
  tunnel_whisperer.tw.units:
    units:
      - name: tw-caddy.service
        restart_on: [/opt/tw/bin/caddy]
        reload_on: [/etc/tw-relay/Caddyfile]
"""

RETURN = r"""
units:
  description: What was done with each unit, by its name, as C(changed), C(action), C(enablement) and C(reason).
  type: dict
  returned: always
"""

import os
import time
from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tunnel_whisperer.tw.plugins.module_utils.units import (
    PROPERTIES,
    STILL_TO_COME,
    Verdict,
    Wish,
    decide,
    own_files,
    parse_show,
)

UNIT_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "enabled": {"type": "bool", "default": True},
    "restart_on": {"type": "list", "elements": "str", "default": []},
    "reload_on": {"type": "list", "elements": "str", "default": []},
    "instances": {"type": "list", "elements": "str"},
}


def wishes(items: list[dict[str, Any]]) -> list[Wish]:
    """Turn the module's argument into wishes, one for each unit."""
    found = []
    for item in items:
        for instance in [""] if item["instances"] is None else item["instances"]:
            name = item["name"].replace("@.", f"@{instance}.") if instance else item["name"]
            found.append(
                Wish(
                    name=name,
                    present=item["state"] == "present",
                    enabled=item["enabled"],
                    restart_on=tuple(path.replace("%i", instance) for path in item["restart_on"]),
                    reload_on=tuple(path.replace("%i", instance) for path in item["reload_on"]),
                )
            )
    return found


def change_times(paths: set[str]) -> dict[str, float]:
    """Look up when these files last changed; a link counts with what it points to."""
    times: dict[str, float] = {}
    for path in paths:
        try:
            times[path] = max(os.lstat(path).st_ctime, os.stat(path).st_ctime)
        except OSError:
            continue
    return times


class Systemd:
    """The few things we ask of systemctl, each for several units at once."""

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module

    def _run(self, *words: str) -> tuple[int, str, str]:
        code, out, err = self._module.run_command(["systemctl", *words])
        return int(code), str(out), str(err)

    def show(self, names: list[str]) -> dict[str, dict[str, str]]:
        """Ask for the state of units; where systemd is not running nothing is known of any."""
        code, out, _err = self._run("show", "--timestamp=us+utc", "-p", ",".join(PROPERTIES), *names)
        return parse_show(out) if code == 0 else {}

    def outdated(self) -> bool:
        """Tell whether the files of any unit, ours or not, are other than systemd has read them."""
        return "NeedDaemonReload=yes" in self._run("show", "-p", "NeedDaemonReload", "*")[1]

    def reread(self) -> None:
        """Have systemd read the files of all units."""
        self._must("daemon-reload")

    def do(self, verb: str, names: list[str]) -> None:
        """Do something with units, all in one transaction."""
        if names:
            self._must(verb, *names)

    def forgive(self, names: list[str]) -> None:
        """Wipe the record of failures; a unit that has none is no matter."""
        for name in names:
            self._run("reset-failed", name)

    def _must(self, verb: str, *names: str) -> None:
        code, _out, err = self._run(verb, *names)
        if code:
            self.fail(f"systemctl {verb} {' '.join(names)}: {err.strip()}", list(names))

    def fail(self, message: str, names: list[str]) -> None:
        """End the task; say what the units themselves had to say."""
        told = []
        for name in names:
            _code, out, _err = self._module.run_command(
                ["journalctl", "-u", name, "-n", "12", "-o", "cat", "--no-pager"]
            )
            told.append(f"{name}: {out.strip()}")
        self._module.fail_json(msg="\n".join([message, *told]))


def unknown(state: dict[str, str] | None) -> bool:
    """Tell whether systemd may not have seen the unit's file yet."""
    return state is None or state.get("LoadState") == "not-found"


def settle(systemd: Systemd, wanted: list[Wish], seconds: float) -> None:
    """Wait until the units have been up for a moment; fail when one is not."""
    if not wanted:
        return
    names = [wish.name for wish in wanted]
    before = systemd.show(names)
    time.sleep(seconds)
    after = systemd.show(names)
    ill = [
        name
        for name in names
        if after.get(name, {}).get("ActiveState") != "active"
        or after[name]["ActiveEnterTimestampMonotonic"] != before[name]["ActiveEnterTimestampMonotonic"]
    ]
    if ill:
        systemd.fail(f"{', '.join(ill)}: does not stay up", ill)


def apply(systemd: Systemd, plan: dict[str, tuple[Wish, Verdict]]) -> None:
    """Carry the verdicts out: what goes first, then what comes."""

    def those(verb: str) -> list[str]:
        return [name for name, (_wish, verdict) in plan.items() if verb in (verdict.action, verdict.enablement)]

    systemd.do("stop", those("stop"))
    # A unit given up on by systemd would refuse to start until its record is wiped; one that was stopped would be
    # listed as failed for ever.
    systemd.forgive(those("stop") + those("start"))
    for verb in ("disable", "enable", "start", "restart", "reload"):
        systemd.do(verb, those(verb))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "units": {"type": "list", "elements": "dict", "required": True, "options": UNIT_SPEC},
            "pending": {"type": "list", "elements": "str", "default": []},
            "settle": {"type": "float", "default": 0.5},
        },
        supports_check_mode=True,
    )
    module.run_command_environ_update = {"LC_ALL": "C", "LANG": "C", "TZ": "UTC"}
    systemd = Systemd(module)
    wanted = wishes(module.params["units"])
    names = [wish.name for wish in wanted]
    if not names:
        module.exit_json(changed=False, units={})

    states = systemd.show(names)
    if not module.check_mode and (systemd.outdated() or any(unknown(states.get(name)) for name in names)):
        systemd.reread()
        states = systemd.show(names)

    watched = {
        path for wish in wanted for path in [*wish.restart_on, *wish.reload_on, *own_files(states.get(wish.name, {}))]
    }
    times = change_times(watched)
    if module.check_mode:
        times.update(dict.fromkeys(module.params["pending"], STILL_TO_COME))
    plan = {wish.name: (wish, decide(wish, states.get(wish.name, {}), times)) for wish in wanted}

    if not module.check_mode:
        for wish in wanted:
            if wish.present and states.get(wish.name, {}).get("LoadState") != "loaded":
                module.fail_json(msg=f"{wish.name}: systemd does not know this unit; is its file in place?")
        apply(systemd, plan)
        started = [wish for wish, verdict in plan.values() if verdict.action not in ("", "stop")]
        settle(systemd, started, module.params["settle"])
    module.exit_json(
        changed=any(verdict.changed for _wish, verdict in plan.values()),
        units={name: {"changed": verdict.changed, **asdict(verdict)} for name, (_wish, verdict) in plan.items()},
    )


if __name__ == "__main__":
    main()
