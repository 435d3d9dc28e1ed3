# Copyright (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules that drive the agent's engine share: arguments in, the engine's changes made or only told, results out.

The engine lives in the agent's package, so such a module runs under the agent's own Python. Before the agent is there,
as in a first run in check mode, it runs under another and says what it can.
"""

from __future__ import annotations

import grp
import os
import pwd
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

try:
    from tunnel_whisperer.errors import TwError
    from tunnel_whisperer.files import Change, Owner, Transaction
    from tunnel_whisperer.problems import InvalidInputError
except ImportError as error:
    MISSING = str(error)
else:
    MISSING = ""


class EngineModule(AnsibleModule):
    """A module whose arguments hold whole inventories, and secrets; of a dict or a list only its size is told."""

    def invocation(self) -> dict[str, Any]:
        """Return the arguments as they may be told."""
        return {
            name: f"({len(value)} items)" if isinstance(value, dict | list) else value
            for name, value in self.params.items()
        }

    def exit_json(self, **result: Any) -> NoReturn:
        """End well."""
        super().exit_json(**{"invocation": {"module_args": self.invocation()}, **result})

    def fail_json(self, msg: str, **result: Any) -> NoReturn:
        """End badly."""
        super().fail_json(msg, **{"invocation": {"module_args": self.invocation()}, **result})

    def _log_invocation(self) -> None:
        """Note in the host's journal that the module ran; Ansible itself would write all arguments there."""
        self.log("Invoked with " + " ".join(f"{name}={value}" for name, value in self.invocation().items()))


class Call:
    """One call of a module: its arguments, and the transaction its changes are planned in."""

    def __init__(self, module: AnsibleModule, transaction: Transaction) -> None:
        """Belong to `module`; whoever opened the transaction ends it."""
        self.params: dict[str, Any] = module.params
        self.check_mode = bool(module.check_mode)
        self.transaction = transaction
        self.now = datetime.now(UTC)
        self._module = module

    def path(self, name: str) -> Path:
        """Return an argument that is a path."""
        return Path(os.path.abspath(self.params[name]))

    def owner(self, *, user: str | None = None, group: str | None = None) -> Owner:
        """Return whom files are to belong to; in check mode a name that is not known yet is no error."""
        return Owner(self._number(user, _uid, "user"), self._number(group, _gid, "group"))

    def mask(self, secrets: Iterable[object]) -> None:
        """Keep these values out of what Ansible prints and logs of this call, its own arguments included."""
        self._module.no_log_values.update(str(secret) for secret in secrets if secret)

    def _number(self, name: str | None, find: Callable[[str], int], kind: str) -> int | None:
        if name is None:
            return None
        try:
            return find(name)
        except KeyError:
            if self.check_mode:
                return None
            raise TwError("is not known on this host", where=f"{kind} {name}") from None


def run(
    argument_spec: dict[str, Any],
    execute: Callable[[Call], dict[str, Any]],
    *,
    without_agent: Callable[[dict[str, Any]], dict[str, Any]],
) -> None:
    """Be the module: `execute` plans and returns the result; `without_agent` is what a run without the agent tells."""
    module = EngineModule(argument_spec=argument_spec, supports_check_mode=True)
    if MISSING:
        _run_without_agent(module, without_agent)
    changes: list[Change] = []
    result: dict[str, Any] = {}
    try:
        with Transaction() as transaction:
            result = execute(Call(module, transaction))
            changes = transaction.changes
            if not module.check_mode:
                transaction.commit()
    except InvalidInputError as error:
        lines = error.problems
        message = (
            lines[0] if len(lines) == 1 else f"{len(lines)} problems:\n" + "\n".join(f"- {line}" for line in lines)
        )
        module.fail_json(msg=message, problems=list(lines))
    except TwError as error:
        module.fail_json(msg=str(error), problems=[str(error)])
    told = {"paths": [str(change.path) for change in changes], "diff": [_diff(change) for change in changes]}
    module.exit_json(**{"changed": bool(changes), **told, **result})


def _run_without_agent(module: AnsibleModule, without_agent: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    if not module.check_mode:
        module.fail_json(
            msg=f"The agent's package is not to be had in {sys.executable} ({MISSING}). Set ansible_python_interpreter "
            "to the agent's own Python; role agent installs it."
        )
    message = "The agent is not installed here yet; a real run would install it and make what is missing."
    module.exit_json(
        **{"changed": True, "msg": message, "agent_missing": True, "paths": [], **without_agent(module.params)}
    )


def _diff(change: Change) -> dict[str, str]:
    path = str(change.path)
    return {"before_header": path, "after_header": path, "before": change.before, "after": change.after}


def _uid(name: str) -> int:
    return pwd.getpwnam(name).pw_uid


def _gid(name: str) -> int:
    return grp.getgrnam(name).gr_gid
