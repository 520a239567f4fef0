# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Plain Debian nodes: their settings are kept, no unconfigured service runs, and a guest boots on the hypervisor.

The tests depend on each other, in the order of this file.
"""

from __future__ import annotations

import json

import pytest

from ansible_collections.cloudwatt.socle.plugins.module_utils.verify import smoke

testinfra_hosts = ["ansible://compute"]
# Each test has the fixture `host`, even if it does not use it: pytest runs tests without it after all others, and the
# last test reboots the node.

GUEST = "/var/lib/socle/images/guest/current"
IMAGE_MARKS = ("/etc/systemd/system-preset/00-socle-image.preset", "/etc/dpkg/dpkg.cfg.d/socle-image")


def failed_units(host):
    return host.check_output("systemctl list-units --state=failed --plain --no-legend").split()


def test_the_nodes_are_not_from_our_image(host, machine):
    for node in map(machine, ("ctl1", "cmp1")):
        assert [path for path in IMAGE_MARKS if node.file(path).exists] == []


def test_polkit_was_of_use_without_a_boot(host):
    """libvirt asks polkit whether nova may connect."""
    host.run_expect([0], "busctl --timeout=10 status org.freedesktop.PolicyKit1")
    host.run_expect([0], "runuser -u nova -- virsh -c qemu:///system list")


def test_packages_may_start_services_again(host, machine):
    for node in map(machine, ("ctl1", "cmp1")):
        assert not node.file("/usr/sbin/policy-rc.d").exists
        assert not node.file("/var/lib/socle/enabled-before-packages").exists


def test_what_the_roles_do_not_run_is_not_enabled(host, service):
    for unit in ("haproxy.service", "usbguard.service", "iscsid.socket"):
        state = service(unit)
        assert (unit, state["ActiveState"], state["UnitFileState"]) == (unit, "inactive", "disabled")
    timer = service("logrotate.timer")
    assert (timer["ActiveState"], timer["UnitFileState"]) == ("active", "enabled")


def test_components_of_the_installer_are_kept(host):
    sources = host.file("/etc/apt/sources.list.d/debian.sources").content_string
    components = [line for line in sources.splitlines() if line.startswith("Components:")]
    assert components == ["Components: main non-free-firmware"] * 2
    assert not host.file("/etc/apt/sources.list").exists
    site = host.file("/etc/apt/sources.list.d/site.sources").content_string
    assert site.splitlines()[:3] == ["Enabled: no", "Types: deb", "URIs: https://repo.site.example/apt"]


def test_names_of_the_node_are_kept(host):
    assert host.check_output("getent hosts mirror.site.example").split()[0] == "192.0.2.80"


def remove_guest(cloud):
    """Remove the guest that an earlier run of the tests may have left."""
    cloud.delete_server("plain", wait=True)
    cloud.delete_flavor("plain")
    for image in cloud.image.images():
        if image.name in ("plain-aki", "plain-ari", "plain-disk"):
            cloud.image.delete_image(image)
    for network in cloud.network.networks(name="plain"):
        cloud.network.delete_network(network)


@pytest.fixture(scope="module")
def guest(cloud):
    """A guest with a kernel and an initial ramdisk, on a network of its own."""
    remove_guest(cloud)
    network = cloud.network.create_network(name="plain")
    cloud.network.create_subnet(network_id=network.id, ip_version=4, cidr="10.20.0.0/24")
    images = {
        kind: cloud.create_image(
            f"plain-{kind}", filename=f"{GUEST}/{name}", disk_format=kind, container_format=kind, wait=True
        ).id
        for kind, name in (("aki", "vmlinuz"), ("ari", "initrd"))
    }
    properties = smoke.disk_properties(images["aki"], images["ari"], "plain")
    disk = cloud.image.create_image(
        name="plain-disk", disk_format="raw", container_format="bare", data=b"\0" * 512, **properties
    )
    flavor = cloud.compute.create_flavor(name="plain", ram=192, vcpus=1, disk=1)
    server = cloud.compute.create_server(
        name="plain", image_id=disk.id, flavor_id=flavor.id, networks=[{"uuid": network.id}]
    )
    return cloud.compute.wait_for_server(server, wait=240)


def test_a_guest_boots(host, guest, cloud, eventually):
    assert guest.status == "ACTIVE"
    address = guest.addresses["plain"][0]["addr"]

    def console():
        return cloud.compute.get_server_console_output(guest, length=200)["output"]

    assert eventually(lambda: address in console(), 300)


def hypervisors(cloud):
    return {(item.id, item.name) for item in cloud.compute.hypervisors(details=True)}


def test_a_hypervisor_whose_disk_was_lost_comes_back_as_itself(host, guest, cloud, deploy, service):
    before = hypervisors(cloud)
    host.check_output("systemctl stop nova-compute && find /var/lib/nova -mindepth 1 -delete")
    code, output = deploy("--limit", "cmp1,ctl1,localhost", "--tags", "compute")
    assert code == 0, output[-4000:]
    assert service("nova-compute")["ActiveState"] == "active"
    assert hypervisors(cloud) == before
    assert host.file("/var/lib/nova/compute_id").content_string.strip() == next(iter(before))[0]
    (record,) = cloud.compute.services(binary="nova-compute")
    assert record.state == "up"


def test_a_unit_that_ends_after_its_start_fails_the_run(host, deploy):
    """The unit reports its start and exits with status 0 two seconds later, as nova-compute does without libvirt."""
    folder = "/run/systemd/system/neutron-ovn-metadata-agent.service.d"
    ends = "[Service]\nType=simple\nExecStart=\nExecStart=/bin/sleep 2\nRestart=no\n"
    host.check_output(f"mkdir -p {folder} && printf %s > {folder}/zz-ends.conf && systemctl daemon-reload", ends)
    try:
        code, output = deploy("--limit", "cmp1,ctl1,localhost", "--tags", "compute")
    finally:
        host.check_output(f"rm -r {folder} && systemctl daemon-reload")
    assert code != 0
    assert "neutron-ovn-metadata-agent.service does not run (inactive/dead)" in output
    code, output = deploy("--limit", "cmp1,ctl1,localhost", "--tags", "compute")
    assert code == 0, output[-4000:]


FOREIGN = "/etc/systemd/network/10-netplan-all-en.network"


def test_a_foreign_file_that_takes_a_link_is_named(host, deploy):
    host.check_output("printf '[Match]\\nName=tun* br-underlay\\n[Network]\\nDHCP=yes\\n' > %s", FOREIGN)
    host.check_output("networkctl reload")
    try:
        assert deploy("--limit", "cmp1,localhost", "--tags", "base", "--check")[0] == 0
        code, output = deploy("--limit", "cmp1,localhost", "--tags", "base")
    finally:
        host.check_output("rm -f %s; networkctl reload; networkctl reconfigure tun0 br-underlay", FOREIGN)
    assert code != 0
    assert f"tun0: systemd-networkd configures it by {FOREIGN}, which takes precedence" in output
    assert deploy("--limit", "cmp1,localhost", "--tags", "base")[0] == 0


def test_cloud_init_takes_nothing_back(host, deploy):
    """The test uses the real package, with user data that would revert the deployment."""
    host.check_output("DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install cloud-init")
    seed = "/var/lib/cloud/seed/nocloud"
    host.check_output(f"mkdir -p {seed}")
    host.check_output(f"printf %s > {seed}/meta-data", "instance-id: one\nlocal-hostname: other\n")
    asked = "#cloud-config\nmanage_etc_hosts: true\npreserve_hostname: false\nssh_deletekeys: true\n"
    host.check_output(f"printf %s > {seed}/user-data", asked)
    network = json.dumps({"version": 2, "ethernets": {"tun0": {"dhcp4": True}}})
    host.check_output(f"printf %s > {seed}/network-config", network)
    host.check_output("printf 'manage_etc_hosts: localhost\\n' > /etc/cloud/cloud.cfg.d/99-site.cfg")
    code, output = deploy("--limit", "cmp1,localhost", "--tags", "base")
    assert code == 0, output[-4000:]
    files = "/etc/hosts /etc/hostname /etc/ssh/ssh_host_* /etc/resolv.conf /etc/apt/sources.list.d/*"
    folders = "/etc/apt /etc/systemd/network /run/systemd/network /etc/netplan /etc/network"
    look = f"sha256sum {files}; ls {folders} 2>&1; true"
    before = host.check_output(look)
    boot = "env $(systemctl show --value -p Environment cloud-init-main) cloud-init"
    for stage in ("init --local", "init", "modules --mode config"):
        host.run(f"{boot} {stage}")
    for name in ("update_etc_hosts", "set_hostname", "update_hostname", "apt_configure"):
        host.run(f"{boot} single --name {name} --frequency always")
    host.run("cloud-init single --name update_etc_hosts --frequency always")
    assert "NoCloud" in host.check_output("cat /var/lib/cloud/instance/datasource")
    assert host.check_output(look) == before


def test_a_boot_leaves_nothing_failed_or_unconfigured(host, deploy, eventually):
    """This is the last test, because the reboot closes the connection."""
    before = host.check_output("systemctl show --value -p UserspaceTimestampMonotonic")
    host.run("systemctl --no-block reboot")

    def back() -> bool:
        try:
            started = host.run("systemctl show --value -p UserspaceTimestampMonotonic").stdout.strip()
            return started != before and host.run("systemctl is-system-running").stdout.strip() == "running"
        except RuntimeError:  # no SSH during the reboot
            return False

    eventually(back)
    assert failed_units(host) == []
    for unit in ("haproxy", "usbguard", "iscsid.socket"):
        assert not host.service(unit).is_running
    code, output = deploy("--limit", "cmp1,ctl1,localhost")
    assert code == 0, output[-4000:]
