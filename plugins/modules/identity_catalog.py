#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: identity_catalog
short_description: Domains, projects, users, roles, services and endpoints of Keystone
version_added: 0.1.0
author: ["Cloudwatt, Orange (@cloudwatt)"]
description:
  - Reads one list per type, compares in memory, and changes only what differs, in parallel where the objects do not
    depend on each other.
  - The passwords of existing users are tested by signing in, so that a rotated password is detected.
  - Manages the given objects and the roles of each user on its project. Others are not changed.
attributes:
  check_mode: {support: full, description: "If Keystone does not answer yet, everything is reported as created."}
  diff_mode: {support: full, description: "One line per change, without secrets."}
options:
  auth:
    description: Credentials of an administrator, as openstacksdk takes them.
    type: dict
    required: true
    suboptions:
      auth_url: {description: The v3 root of Keystone., type: str, required: true}
      username: {description: User., type: str, required: true}
      password: {description: Password., type: str, required: true}
      project_name: {description: Project., type: str, required: true}
      user_domain_name: {description: Domain of the user., type: str, default: Default}
      project_domain_name: {description: Domain of the project., type: str, default: Default}
      cacert: {description: Certificate authorities; by default those of the system., type: path}
  region:
    description: Region of the endpoints.
    type: str
    required: true
  domain_id:
    description: Domain of the projects and users.
    type: str
    default: default
  projects:
    description: Projects.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name., type: str, required: true}
      description: {description: Description., type: str}
  roles:
    description: Roles that must exist, in addition to those that users have.
    type: list
    elements: str
    default: []
  users:
    description: Users.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name., type: str, required: true}
      password: {description: Password., type: str, required: true}
      description: {description: Description., type: str}
      project: {description: Project on which it has its roles., type: str}
      roles: {description: Its roles there; others are taken away., type: list, elements: str, default: []}
  assignments:
    description: Roles of users on further projects; other roles of the user there are taken away.
    type: list
    elements: dict
    default: []
    suboptions:
      user: {description: Name of a user., type: str, required: true}
      project: {description: Name of a project., type: str, required: true}
      role: {description: Name of a role., type: str, required: true}
  domains:
    description:
      - Further domains, each with an administrator of its own, who gets the role C(admin) on the domain.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name., type: str, required: true}
      description: {description: Description., type: str}
      administrator: {description: Name of the administrator., type: str, required: true}
      password: {description: Password of the administrator., type: str, required: true}
  services:
    description: Services, known by their type.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name., type: str, required: true}
      type: {description: Type., type: str, required: true}
      description: {description: Description., type: str}
      endpoints: {description: 'V(public), V(internal) or V(admin) to URL.', type: dict, default: {}}
  recovery:
    description:
      - Command that gives the administrator the password of O(auth), run when Keystone refuses it, as after it was
        rotated. It finds the password in its environment, as C(OS_BOOTSTRAP_PASSWORD).
      - Without it, a refusal ends the module. In check mode, it is the only change that can be told.
    type: list
    elements: str
    default: []
  wait:
    description: Seconds to wait for Keystone to answer.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Register Glance
  cloudwatt.socle.identity_catalog:
    auth: "{{ site_openstack_auth }}"
    region: "{{ site_region }}"
    projects: [{name: service}]
    users:
      - {name: glance, password: "{{ secrets.glance_service }}", project: service, roles: [service]}
    services:
      - name: glance
        type: image
        endpoints: {public: "https://api.example.org:9292", internal: "https://internal.example.org:9292"}
"""

RETURN = r"""
changes:
  description: The changes in words, without secrets, in the order of application.
  returned: always
  type: list
  elements: str
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cloudwatt.socle.plugins.module_utils.common.parallel import in_parallel
from ansible_collections.cloudwatt.socle.plugins.module_utils.common.process import run
from ansible_collections.cloudwatt.socle.plugins.module_utils.common.results import diff_entry, lines, list_of
from ansible_collections.cloudwatt.socle.plugins.module_utils.openstack import identity_catalog as engine
from ansible_collections.cloudwatt.socle.plugins.module_utils.openstack.keystone_client import NOT_YET, Keystone
from ansible_collections.cloudwatt.socle.plugins.module_utils.openstack.rest import ApiError, call

NEEDED: dict[str, Any] = {"type": "str", "required": True}
TEXT: dict[str, Any] = {"type": "str"}
SECRET: dict[str, Any] = {"type": "str", "required": True, "no_log": True}
NAMES: dict[str, Any] = {"type": "list", "elements": "str", "default": []}
AUTH = {
    "auth_url": NEEDED,
    "username": NEEDED,
    "password": SECRET,
    "project_name": NEEDED,
    "user_domain_name": {"type": "str", "default": "Default"},
    "project_domain_name": {"type": "str", "default": "Default"},
    "cacert": {"type": "path"},
}
ARGUMENTS = {
    "auth": {"type": "dict", "required": True, "options": AUTH},
    "region": NEEDED,
    "domain_id": {"type": "str", "default": "default"},
    "projects": list_of({"name": NEEDED, "description": TEXT}),
    "roles": NAMES,
    "users": list_of({"name": NEEDED, "password": SECRET, "description": TEXT, "project": TEXT, "roles": NAMES}),
    "assignments": list_of({"user": NEEDED, "project": NEEDED, "role": NEEDED}),
    "domains": list_of({"name": NEEDED, "description": TEXT, "administrator": NEEDED, "password": SECRET}),
    "services": list_of(
        {"name": NEEDED, "type": NEEDED, "description": TEXT, "endpoints": {"type": "dict", "default": {}}}
    ),
    "recovery": {"type": "list", "elements": "str", "default": []},
    "wait": {"type": "int", "default": 60},
}
REFUSED = 401


def look(keystone: Keystone, options: dict[str, Any]) -> engine.Live:
    administrators = [item["administrator"] for item in options["domains"]]
    paths = engine.lists(options["region"], options["domain_id"], administrators)
    bodies = in_parallel(lambda path: call(keystone, "GET", path, "catalogue"), paths.values(), workers=4)
    return engine.read(dict(zip(paths, bodies, strict=True)))


def stale_users(keystone: Keystone, want: engine.Wanted, live: engine.Live, domain: str) -> list[str]:
    """Return the existing users who cannot sign in with their configured password."""
    domains = {key: item["id"] for key, item in live.objects.get("domain", {}).items()}
    users = {name: domain for name in want.passwords if name in live.objects.get("user", {})}
    for name in want.passwords.keys() & live.objects.get("domain_user", {}).keys():
        users[name] = domains.get(live.objects["domain_user"][name]["domain_id"].key, "")
    good = in_parallel(lambda name: keystone.accepts(name, want.passwords[name], users[name]), users, workers=4)
    return [name for name, accepted in zip(users, good, strict=True) if not accepted]


def apply(keystone: Keystone, steps: list[engine.Step], live: engine.Live) -> None:
    ids = {(kind, key): item["id"] for kind, items in live.objects.items() for key, item in items.items()}

    def take(step: engine.Step) -> None:
        method, path, body = engine.request(step, ids)
        answer = call(keystone, method, path, step.text, json=body)
        if step.verb == "create" and answer:
            ids[step.kind, step.key] = engine.created(step, answer)

    for stage in engine.stages(steps):
        in_parallel(take, stage, workers=4)


def enter(keystone: Keystone, options: dict[str, Any], check: bool) -> list[str]:
    """Sign in, after recovery if the password is refused; return descriptions of the changes."""
    try:
        keystone.sign_in(0 if check else options["wait"])
    except ApiError as fault:
        if fault.status != REFUSED or not options["recovery"]:
            raise
        if not check:
            recover(keystone, options)
        return [f"set the password of {options['auth']['username']}"]
    return []


def recover(keystone: Keystone, options: dict[str, Any]) -> None:
    done = run(options["recovery"], environment={"OS_BOOTSTRAP_PASSWORD": options["auth"]["password"]})
    if not done.ok:
        command = " ".join(options["recovery"])
        raise ApiError(f"Keystone refuses the password, and `{command}` ended with {done.rc}: {done.output[-2000:]}")
    # The password change revokes all tokens of the same second, so wait before a new one is requested.
    time.sleep(1)
    keystone.sign_in(options["wait"])


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    options = module.params
    keystone = Keystone(options["auth"])
    stale: list[str] = []
    texts: list[str] = []
    try:
        want = engine.wanted(options)
        try:
            texts = enter(keystone, options, module.check_mode)
            if texts and module.check_mode:
                leave(module, texts)
            live = look(keystone, options)
            stale = stale_users(keystone, want, live, options["domain_id"])
        except ApiError as fault:
            if not module.check_mode or fault.status not in NOT_YET:
                raise
            live = engine.Live()
        steps = engine.plan(want, live, stale)
        if not module.check_mode:
            apply(keystone, steps, live)
    except (engine.CatalogError, ApiError, OSError) as fault:
        module.fail_json(msg=str(fault))
    leave(module, texts + [step.text for step in steps])


def leave(module: AnsibleModule, texts: list[str]) -> None:
    module.exit_json(
        changed=bool(texts),
        changes=texts,
        diff=[diff_entry("identity catalogue", "", lines(texts))] if texts else [],
    )


if __name__ == "__main__":
    main()
