#!/usr/bin/python
# Copyright: (c) The Tunnel Whisperer maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many folders and files in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: files
short_description: Make folders and write files, many in one call
version_added: 0.1.0
description:
  - Makes the folders, then writes the files that differ. All of them are written aside and validated first, so a file
    that its reader does not accept leaves every one as it was.
author:
  - The Tunnel Whisperer maintainers (@tunnel-whisperer)
options:
  folders:
    description:
      - Folders, those above before those below.
    type: list
    elements: dict
    default: []
    suboptions: &what
      path:
        description:
          - Where it is.
        type: path
        required: true
      owner:
        description:
          - Who owns it.
        type: str
        default: root
      group:
        description:
          - Its group.
        type: str
        default: root
      mode:
        description:
          - Its permissions, in octal; V(0755) for a folder and V(0644) for a file if left out.
        type: str
  files:
    description:
      - Files.
    type: list
    elements: dict
    default: []
    suboptions:
      <<: *what
      content:
        description:
          - What it says.
        type: str
        required: true
      validate:
        description:
          - A command that accepts or refuses it; V(%s) stands for the file.
        type: str
extends_documentation_fragment:
  - tunnel_whisperer.tw.attributes
attributes:
  diff_mode:
    description: Tells what has changed, or would change, when in diff mode.
    support: full
"""

EXAMPLES = r"""
- name: Write a unit and its configuration
  tunnel_whisperer.tw.files:
    folders:
      - path: /etc/web
    files:
      - path: /etc/systemd/system/web.service
        content: "{{ lookup('ansible.builtin.template', 'web.service.j2') }}"
      - path: /etc/web/web.conf
        content: "{{ lookup('ansible.builtin.template', 'web.conf.j2') }}"
        validate: /usr/bin/web --check %s
"""

RETURN = r"""
paths:
  description: The folders and files that were made, written, or given another owner or mode.
  type: list
  elements: str
  returned: always
"""

import grp
import os
import pwd
import shlex
import shutil
import stat
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tunnel_whisperer.tw.plugins.module_utils.durable import drafting
from ansible_collections.tunnel_whisperer.tw.plugins.module_utils.relay_files import read_text

WHAT: dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "mode": {"type": "str"},
}
FILE: dict[str, Any] = {**WHAT, "content": {"type": "str", "required": True}, "validate": {"type": "str"}}


def owned(item: dict[str, Any], default: int) -> bool:
    """Tell whether owner, group and mode of what is there are as they should be."""
    status = os.stat(item["path"])
    try:
        ids = (pwd.getpwnam(item["owner"]).pw_uid, grp.getgrnam(item["group"]).gr_gid)
    except KeyError:
        return False
    return (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (*ids, mode(item, default))


def mode(item: dict[str, Any], default: int) -> int:
    """Return the permissions that are wanted."""
    return int(item["mode"], 8) if item["mode"] else default


def own(path: str, item: dict[str, Any], default: int) -> None:
    """Set owner, group and mode."""
    shutil.chown(path, item["owner"], item["group"])
    os.chmod(path, mode(item, default))


def make_folders(module: AnsibleModule) -> list[str]:
    """Make and mend the folders; return those that were not as they should be."""
    wrong = [item for item in module.params["folders"] if not os.path.isdir(item["path"]) or not owned(item, 0o755)]
    for item in [] if module.check_mode else wrong:
        os.makedirs(item["path"], exist_ok=True)
        own(item["path"], item, 0o755)
    return [item["path"] for item in wrong]


def accepted(module: AnsibleModule, item: dict[str, Any], draft: str) -> None:
    """Show a draft to its reader; end the task if it is refused."""
    if not item["validate"]:
        return
    command = [word.replace("%s", draft) for word in shlex.split(item["validate"])]
    code, out, err = module.run_command(command)
    if code:
        module.fail_json(msg=f"{item['path']}: {command[0]} does not accept it: {(err or out).strip()}")


def write_files(module: AnsibleModule, wrong: list[dict[str, Any]]) -> None:
    """Write all aside, have all accepted, then move them into place."""
    with drafting() as drafts:
        for item in wrong:
            content, owner = item["content"].encode(), (item["owner"], item["group"])
            accepted(module, item, drafts.write(item["path"], content, mode(item, 0o644), owner))
        drafts.place()


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "folders": {"type": "list", "elements": "dict", "default": [], "options": WHAT},
            "files": {"type": "list", "elements": "dict", "default": [], "options": FILE},
        },
        supports_check_mode=True,
    )
    before = {item["path"]: read_text(item["path"]) for item in module.params["files"]}
    different = [item for item in module.params["files"] if before[item["path"]] != item["content"]]
    wrong = [*different, *(i for i in module.params["files"] if i not in different and not owned(i, 0o644))]
    diff = [
        {
            "before_header": item["path"],
            "after_header": item["path"],
            "before": before[item["path"]] or "",
            "after": item["content"],
        }
        for item in different
    ]
    folders = make_folders(module)
    if not module.check_mode:
        write_files(module, wrong)
    paths = [*folders, *(item["path"] for item in wrong)]
    module.exit_json(changed=bool(paths), paths=paths, diff=diff)


if __name__ == "__main__":
    main()
