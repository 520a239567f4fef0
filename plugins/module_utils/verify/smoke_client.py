# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Create the smoke guests' OpenStack objects as :mod:`smoke` specifies them, each tenant in a thread of its own."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..openstack.rest import ApiError, call, find
from . import smoke

#: Size of the empty disk, bytes. The guest never reads it; Nova requires one.
DISK_SIZE = 1024 * 1024
CONSOLE_LINES = 30
#: Role that the administrator needs on a tenant's project to run a guest there.
ROLE = "admin"
#: Owner of the ports of routers.
ROUTER_PORT = "network:router_interface"


def digest_of(path: str) -> str:
    """Return the SHA-256 of a file's content, hexadecimal."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


class Smoke:
    """The smoke guests of one site.

    ``connect(project)`` returns a connection scoped to a project, or to the administrator's own project for None. In
    check mode nothing is written, and objects that do not exist yet are predicted.
    """

    def __init__(self, connect: Callable[[str | None], Any], check: bool, timeout: float, workers: int = 8) -> None:
        self.connect = connect
        self.check = check
        self.timeout = timeout
        self.workers = workers
        self.changes: list[str] = []

    def _parallel(self, work: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """Map ``work`` over ``items``; all items run to their end, then all failures are reported together."""
        with ThreadPoolExecutor(max_workers=max(1, self.workers)) as pool:
            futures = [pool.submit(work, item) for item in items]
        errors = dict.fromkeys(str(future.exception()) for future in futures if future.exception())
        if errors:
            raise smoke.SmokeError("; ".join(errors))
        return [future.result() for future in futures]

    # Images and flavor, shared by all tenants

    def shared(self, kernel: str, ramdisk: str, flavor: Mapping[str, Any]) -> dict[str, str | None]:
        """Return ``{kernel_id, ramdisk_id, flavor_id}``, None for objects that check mode did not make."""
        admin = self.connect(None)
        kernel_id, ramdisk_id, flavor_id = self._parallel(
            lambda step: step(),
            [
                lambda: self._file_image(admin, f"{smoke.NAME}-kernel", "aki", kernel),
                lambda: self._file_image(admin, f"{smoke.NAME}-ramdisk", "ari", ramdisk),
                lambda: self._flavor(admin, flavor),
            ],
        )
        return {"kernel_id": kernel_id, "ramdisk_id": ramdisk_id, "flavor_id": flavor_id}

    def _file_image(self, conn: Any, name: str, kind: str, path: str) -> str | None:
        if self.check and not os.path.exists(path):
            self._changed(f"image {name}")  # outside check mode the file exists by now
            return None
        with open(path, "rb") as content:
            body = {"disk_format": kind, "container_format": kind, "visibility": "public"}
            return self._image(conn, name, body, {smoke.DIGEST_PROPERTY: digest_of(path)}, content)

    def _image(
        self, conn: Any, name: str, body: dict[str, Any], properties: dict[str, Any], content: Any
    ) -> str | None:
        """Return an active image with these properties; any other image of that name is replaced."""
        listed = call(
            conn.image, "GET", "/images", f"image {name}", params={"name": name, "owner": self._project(conn)}
        )
        kept = None
        for image in listed["images"]:
            if kept is None and image["status"] == "active" and properties.items() <= image.items():
                kept = image["id"]
            else:
                self._delete(conn.image, f"/images/{image['id']}", f"outdated image {name}")
        if kept or self._changed(f"image {name}"):
            return kept
        made = call(conn.image, "POST", "/images", f"image {name}", json={"name": name, **body, **properties})
        call(
            conn.image,
            "PUT",
            f"/images/{made['id']}/file",
            f"content of image {name}",
            data=content,
            headers={"Content-Type": "application/octet-stream"},
        )
        image_id: str = made["id"]
        return image_id

    def _flavor(self, conn: Any, flavor: Mapping[str, Any]) -> str | None:
        wanted = {"ram": flavor["ram"], "vcpus": flavor["vcpus"], "disk": flavor["disk"]}
        found = find(conn.compute, f"/flavors/{smoke.FLAVOR}", "flavor")
        if found and all(found["flavor"].get(key) == value for key, value in wanted.items()):
            return smoke.FLAVOR
        if found:
            self._delete(conn.compute, f"/flavors/{smoke.FLAVOR}", f"flavor {smoke.FLAVOR}")
        if self._changed(f"flavor {smoke.FLAVOR}"):
            return None
        call(
            conn.compute,
            "POST",
            "/flavors",
            "flavor",
            json={"flavor": {"id": smoke.FLAVOR, "name": smoke.FLAVOR, **wanted}},
        )
        return smoke.FLAVOR

    # The administrator in the tenants' projects

    def _memberships(self, guests: Sequence[Mapping[str, Any]]) -> tuple[dict[str, str], set[str], str]:
        """Return the guests' projects (name to id), those where the administrator has the role, and the role's id."""
        admin = self.connect(None)
        wanted = {guest["project"] for guest in guests}
        listed = call(admin.identity, "GET", "/projects", "projects")["projects"]
        projects = {project["name"]: project["id"] for project in listed if project["name"] in wanted}
        role = call(admin.identity, "GET", "/roles", "role", params={"name": ROLE})["roles"][0]["id"]
        query = {"user.id": admin.session.get_user_id(), "role.id": role}
        assigned = call(admin.identity, "GET", "/role_assignments", "roles", params=query)["role_assignments"]
        held = {entry["scope"]["project"]["id"] for entry in assigned if "project" in entry["scope"]}
        return projects, {name for name, project_id in projects.items() if project_id in held}, role

    def _join(self, guests: Sequence[Mapping[str, Any]]) -> set[str]:
        """Give the administrator the role on the tenants' projects; return the names of those it can enter now.

        :raises SmokeError: if a project does not exist.
        """
        projects, member, role = self._memberships(guests)
        missing = sorted({guest["project"] for guest in guests} - set(projects))
        if missing and not self.check:
            raise smoke.SmokeError(f"no such project: {', '.join(missing)}; wire the tenants first")
        admin = self.connect(None)
        for name in sorted(set(projects) - member):
            if not self._changed(f"role {ROLE} on project {name}"):
                path = f"/projects/{projects[name]}/users/{admin.session.get_user_id()}/roles/{role}"
                call(admin.identity, "PUT", path, f"role on project {name}")
                member.add(name)
        return member

    # One tenant's guest

    def present(self, guests: Sequence[Mapping[str, Any]], shared: Mapping[str, str | None]) -> list[dict[str, Any]]:
        """Make all guests ACTIVE; return ``{tenant, project, vrf, name, network, v4, v6, status, host}`` of each."""

        member = self._join(guests)
        if not self.check:
            self._await_routers()

        def named(guest: Mapping[str, Any]) -> dict[str, Any]:
            if guest["project"] not in member:
                self._changed(f"server {guest['name']}")
                return self._planned(guest)
            try:
                return self._guest(guest, shared)
            except smoke.SmokeError:
                raise
            except Exception as error:
                raise smoke.SmokeError(f"{guest['name']} in project {guest['project']}: {error}") from error

        return self._parallel(named, list(guests))

    def _await_routers(self) -> None:
        """Wait until Neutron has processed that the routers' ports are up, or until it makes no more progress.

        Neutron processes OVN's events one after the other, and needs two to six seconds for a router's new port
        (Neutron 26). Until it has processed those of a newly wired site, no guest learns that its own port is up.
        """
        query = {"device_owner": ROUTER_PORT, "status": "DOWN", "admin_state_up": "true", "fields": "id"}
        network = self.connect(None).network
        fewest, deadline = None, 0.0
        while left := len(call(network, "GET", "/ports", "ports of routers", params=query)["ports"]):
            if fewest is None or left < fewest:
                fewest, deadline = left, time.monotonic() + self.timeout
            if time.monotonic() >= deadline:
                return
            time.sleep(2)

    def _guest(self, guest: Mapping[str, Any], shared: Mapping[str, str | None]) -> dict[str, Any]:
        name = guest["name"]
        conn = self.connect(guest["project"])
        report = self._planned(guest)

        image_id = None
        if shared["kernel_id"] and shared["ramdisk_id"]:
            properties = smoke.disk_properties(shared["kernel_id"], shared["ramdisk_id"], name)
            body = {"disk_format": "raw", "container_format": "bare", "visibility": "private", "min_ram": 0}
            image_id = self._image(conn, f"{smoke.NAME}-{guest['vrf']}", body, properties, b"\0" * DISK_SIZE)
        group_id = self._group(conn, name)
        servers = self._servers(conn, name)
        port = self._port(conn, guest, group_id)
        if port is None or image_id is None or shared["flavor_id"] is None:
            self._changed(f"server {name}")
            return report
        report |= smoke.addresses(port)

        verdict = smoke.server_verdict(servers, image_id, port)
        server = servers[0] if servers else {}
        if verdict != "keep" and verdict != "wait" and self._changed(f"server {name} ({verdict})"):
            return report
        if verdict == "replace":
            for old in servers:
                self._drop_server(conn, old["id"], name)
        if verdict in ("replace", "create"):
            server = call(
                conn.compute,
                "POST",
                "/servers",
                f"server {name}",
                json={
                    "server": {
                        "name": name,
                        "imageRef": image_id,
                        "flavorRef": shared["flavor_id"],
                        "networks": [{"port": port["id"]}],
                        "metadata": {"socle_port": port["id"]},
                    }
                },
            )["server"]
        elif verdict == "start":
            call(
                conn.compute,
                "POST",
                f"/servers/{server['id']}/action",
                f"server {name}",
                json={"os-start": None},
            )
        server = self._until_active(conn, server["id"], name)
        report |= {"status": server["status"], "host": server.get("OS-EXT-SRV-ATTR:host")}
        return report

    def _planned(self, guest: Mapping[str, Any]) -> dict[str, Any]:
        kept = {key: guest[key] for key in ("tenant", "project", "vrf", "name", "network", "v4")}
        return {**kept, "v6": None, "status": "planned", "host": None}

    def _group(self, conn: Any, name: str) -> str | None:
        what = f"security group of {name}"
        query = {"name": smoke.NAME, "project_id": self._project(conn)}
        found = call(conn.network, "GET", "/security-groups", what, params=query)["security_groups"]
        if found:
            group = found[0]
        elif self._changed(what):
            return None
        else:
            body = {"name": smoke.NAME, "description": "ICMP and HTTP from anywhere, for the smoke guest"}
            group = call(conn.network, "POST", "/security-groups", what, json={"security_group": body})[
                "security_group"
            ]
        missing = smoke.missing_rules(group)
        if missing and not self._changed(f"rules of the {what}"):
            call(conn.network, "POST", "/security-group-rules", what, json={"security_group_rules": missing})
        group_id: str = group["id"]
        return group_id

    def _port(self, conn: Any, guest: Mapping[str, Any], group_id: str | None) -> dict[str, Any] | None:
        what = f"port of {guest['name']}"
        networks = call(conn.network, "GET", "/networks", what, params={"description": guest["network"]})["networks"]
        if len(networks) != 1:
            if self.check and not networks:
                self._changed(what)
                return None
            raise smoke.SmokeError(
                f"{what}: {len(networks)} networks have the key {guest['network']}, 1 expected; wire first"
            )
        network_id = networks[0]["id"]
        subnets = call(conn.network, "GET", "/subnets", what, params={"network_id": network_id})["subnets"]
        body = smoke.port_body(guest, network_id, subnets, group_id or "")
        query = {"description": smoke.port_key(guest), "project_id": self._project(conn)}
        listed: list[dict[str, Any]] = call(conn.network, "GET", "/ports", what, params=query)["ports"]
        for port in listed:
            if group_id and smoke.port_matches(port, body):
                return port
            if not self._changed(f"outdated {what}"):
                if port["device_id"]:
                    self._drop_server(conn, port["device_id"], guest["name"])
                call(conn.network, "DELETE", f"/ports/{port['id']}", what)
        if self._changed(what):
            return None
        made: dict[str, Any] = call(conn.network, "POST", "/ports", what, json={"port": body})["port"]
        return made

    def _servers(self, conn: Any, name: str) -> list[dict[str, Any]]:
        query = {"name": f"^{name}$"}
        answer = call(conn.compute, "GET", "/servers/detail", f"server {name}", params=query)
        servers: list[dict[str, Any]] = answer["servers"]
        return servers

    def _until_active(self, conn: Any, server_id: str, name: str) -> dict[str, Any]:
        deadline = time.monotonic() + self.timeout
        while True:
            answer = call(conn.compute, "GET", f"/servers/{server_id}", f"server {name}")
            server: dict[str, Any] = answer["server"]
            if server["status"] == "ACTIVE":
                return server
            late = time.monotonic() >= deadline
            if server["status"] == "ERROR" or late:
                fault = (server.get("fault") or {}).get("message", "no fault given")
                state = f"still {server['status']} after {self.timeout:g} s" if late else f"in ERROR: {fault}"
                raise smoke.SmokeError(f"server {name} ({server_id}) {state}{self._console(conn, server_id)}")
            self._while_in(conn, server, name, deadline)

    def _while_in(self, conn: Any, server: Mapping[str, Any], name: str, deadline: float) -> None:
        """Wait until a server leaves its status. This query is cheap: for details, Nova asks Neutron three times."""
        query = {"name": f"^{name}$", "status": server["status"]}
        while True:
            time.sleep(1)
            listed = call(conn.compute, "GET", "/servers", f"server {name}", params=query)["servers"]
            if time.monotonic() >= deadline or server["id"] not in [entry["id"] for entry in listed]:
                return

    def _console(self, conn: Any, server_id: str) -> str:
        """Return the end of a server's console, ready to be appended to a message; empty if it is not available."""
        ask = {"os-getConsoleOutput": {"length": CONSOLE_LINES}}
        try:
            output = call(conn.compute, "POST", f"/servers/{server_id}/action", "console", json=ask)["output"]
        except ApiError:
            return ""
        return f"; end of its console:\n{output}" if output else "; its console is empty"

    # Removal

    def absent(self, guests: Sequence[Mapping[str, Any]]) -> None:
        """Remove the guests and their shared objects. A project that the administrator cannot enter has no guest."""
        _projects, member, _role = self._memberships(guests)
        self._parallel(self._remove_guest, [guest for guest in guests if guest["project"] in member])
        admin = self.connect(None)
        for name in (f"{smoke.NAME}-kernel", f"{smoke.NAME}-ramdisk"):
            self._remove_images(admin, name)
        if find(admin.compute, f"/flavors/{smoke.FLAVOR}", "flavor"):
            self._delete(admin.compute, f"/flavors/{smoke.FLAVOR}", f"flavor {smoke.FLAVOR}")

    def _remove_guest(self, guest: Mapping[str, Any]) -> None:
        conn, name = self.connect(guest["project"]), guest["name"]
        project = self._project(conn)
        for server in self._servers(conn, name):
            if not self._changed(f"server {name} removed"):
                self._drop_server(conn, server["id"], name)
        query = {"description": smoke.port_key(guest), "project_id": project}
        for port in call(conn.network, "GET", "/ports", name, params=query)["ports"]:
            self._delete(conn.network, f"/ports/{port['id']}", f"port of {name}")
        query = {"name": smoke.NAME, "project_id": project}
        for group in call(conn.network, "GET", "/security-groups", name, params=query)["security_groups"]:
            self._delete(conn.network, f"/security-groups/{group['id']}", f"security group of {name}")
        self._remove_images(conn, f"{smoke.NAME}-{guest['vrf']}")

    def _remove_images(self, conn: Any, name: str) -> None:
        query = {"name": name, "owner": self._project(conn)}
        for image in call(conn.image, "GET", "/images", name, params=query)["images"]:
            self._delete(conn.image, f"/images/{image['id']}", f"image {name}")

    def _drop_server(self, conn: Any, server_id: str, name: str) -> None:
        """Delete a server and wait until it is gone, because its port is in use until then."""
        try:
            call(conn.compute, "DELETE", f"/servers/{server_id}", f"server {name}")
        except ApiError as error:
            if error.status != 404:
                raise
        deadline = time.monotonic() + self.timeout
        while find(conn.compute, f"/servers/{server_id}", f"server {name}"):
            if time.monotonic() >= deadline:
                raise smoke.SmokeError(f"server {name} ({server_id}): not deleted after {self.timeout:g} s")
            time.sleep(1)

    # Helpers

    def _project(self, conn: Any) -> str:
        project_id: str = conn.session.get_project_id()
        return project_id

    def _changed(self, what: str) -> bool:
        """Record a change; return True if check mode forbids it."""
        self.changes.append(what)
        return self.check

    def _delete(self, adapter: Any, path: str, what: str) -> None:
        if not self._changed(f"{what} removed"):
            try:
                call(adapter, "DELETE", path, what)
            except ApiError:
                if find(adapter, path, what):  # else another run was faster
                    raise
