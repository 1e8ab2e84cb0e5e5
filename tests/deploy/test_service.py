"""C5: the worker as a service of a real systemd, from the first start to the last stop."""

import re
import shutil
import signal
import time
from typing import Final

import pytest

from tests.deploy.conftest import DRAIN_S, UNIT, Host
from tests.support.boxes import ROOT, box_tests
from tests.support.ports import free_ports
from tests.support.processes import slack_s

pytestmark = box_tests("systemd-box")

#: A promise: from `systemctl start` until a task would start.
_READY_S = 1.5
_USEC, _NSEC = 1e6, 1e9
#: Loaded by every interpreter of the worker: a signal then blocks its loop as a bug would.
_BLOCKER = """
import signal, sys, time
if "vera_supervisor" in sys.orig_argv:
    signal.signal(signal.SIGUSR1, lambda *_: time.sleep(600))
"""
#: It is not to start by itself.
_GET_SSHD: Final = """
set -e
printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d
apt-get install -y -qq --no-install-recommends openssh-server
rm /usr/sbin/policy-rc.d
"""
#: On a port of its own: the box shares those of this machine.
_START_SSHD: Final = """
mkdir -p /run/sshd /root/.ssh
rm -f /root/key
ssh-keygen -q -t ed25519 -N '' -f /root/key
cat /root/key.pub >> /root/.ssh/authorized_keys
systemd-run --quiet --unit test-sshd /usr/sbin/sshd -D -p {port} -o ListenAddress=127.0.0.1
until ssh-keyscan -p {port} 127.0.0.1 2>/dev/null | grep -q ed25519; do sleep 0.1; done
"""


def test_a_newcomer_has_a_running_and_enabled_unit(installed: Host) -> None:
    assert installed.box.sh(f"systemctl is-active {UNIT}; systemctl is-enabled {UNIT}") == (
        "active\nenabled"
    )
    assert installed.client.get("/health").json()["worker_id"] == installed.box.name
    assert installed.show("StatusText").startswith("takes tasks on http://127.0.0.1:")
    assert installed.box.sh("vera-worker --help | head -1").startswith("Usage")


def test_the_first_request_after_the_start_succeeds(host: Host) -> None:
    took_s, cpu_s = [], []
    for _ in range(5):
        host.box.sh(f"systemctl stop {UNIT}; systemctl start {UNIT}")
        assert host.client.get("/health/ready").status_code == 200
        assert host.submit("noop", wait=60)["status"] == "completed"
        began, ready = (
            int(host.show(f"{name}TimestampMonotonic")) for name in ("InactiveExit", "ActiveEnter")
        )
        took_s.append((ready - began) / _USEC)
        cpu_s.append(int(host.show("CPUUsageNSec")) / _NSEC)
    assert min(took_s) <= _READY_S + slack_s(), took_s
    assert min(cpu_s) <= _READY_S, cpu_s  # however busy the machine is


def test_it_runs_as_nobody_known_and_sees_what_it_must(host: Host) -> None:
    pid = host.show("MainPID")
    status = host.box.sh(f"cat /proc/{pid}/status")
    uid = int(status.split("Uid:")[1].split()[0])
    assert 61184 <= uid <= 65519  # the users that systemd makes for the time being
    assert "NoNewPrivs:\t1" in status
    assert "CapEff:\t0000000000000000" in status
    assert host.box.sh("stat -c %a /var/lib/private/vera-worker") == "700"


def test_executors_have_groups_of_their_own(host: Host) -> None:
    group = "/sys/fs/cgroup" + host.show("ControlGroup")
    assert host.submit("noop", wait=60)["status"] == "completed"
    main = host.show("MainPID")
    groups = host.box.sh(f"grep -rlx '[0-9]*' {group} --include cgroup.procs").splitlines()
    assert len(groups) >= 2
    (own,) = [each for each in groups if main in host.box.sh(f"cat {each}").split()]
    task_groups = [each for each in groups if re.search(r"/vera-\d+-\d+/", each)]
    assert task_groups
    assert own not in task_groups


@pytest.mark.parametrize("fault", ["stopped", "blocked"])
def test_a_worker_that_does_not_get_on_is_restarted_by_the_watchdog(host: Host, fault: str) -> None:
    blocker = host.box.root() / "etc/vera-worker/tasks/sitecustomize.py"
    blocker.write_text(_BLOCKER)
    try:
        host.restart()
        before = host.show("MainPID")
        task = host.submit("sleep", 0, delay=1, task_id=f"after-{fault}-{before}")
        number = signal.SIGSTOP if fault == "stopped" else signal.SIGUSR1
        host.box.sh(f"kill -{int(number)} {before}")
        host.until(
            lambda: (
                host.show("MainPID") not in (before, "0") and host.show("SubState") == "running"
            ),
            "the watchdog restarts it",
        )
        assert "Watchdog timeout" in host.journal("--lines 60")
        assert host.record(task["task_id"], wait=60)["status"] == "completed"
    finally:
        blocker.unlink()


def test_a_killed_supervisor_is_restarted_and_nothing_is_lost(host: Host) -> None:
    tasks = [host.submit("sleep", 0.2)["task_id"] for _ in range(20)]
    before = host.show("MainPID")
    host.box.sh(f"kill -9 {before}")
    host.until_restarted(before)
    assert int(host.show("NRestarts")) >= 1
    assert {host.record(task, wait=60)["status"] for task in tasks} == {"completed"}


def test_a_stop_ends_in_time_whoever_hangs_on(host: Host) -> None:
    group = "/sys/fs/cgroup" + host.show("ControlGroup")
    # It heeds no wish to stop, and has a daemon.
    running = host.submit("return_late", 600)["task_id"]
    host.submit("spawn_daemon", 600, wait=60)
    host.until(lambda: host.record(running)["status"] == "running", "it runs")
    with (
        host.client.stream("GET", f"/task/{running}/output?follow=1"),
        host.client.stream("GET", "/events"),
    ):
        began = time.monotonic()
        host.box.sh(f"systemctl stop {UNIT}")
        took_s = time.monotonic() - began
    assert DRAIN_S <= took_s <= DRAIN_S + 2.0 + slack_s()
    assert (host.show("Result"), host.show("ExecMainStatus")) == ("success", "0")
    assert host.box.sh(f"cat {group}/cgroup.procs 2>/dev/null", check=False) == ""
    assert "SIGKILL" not in host.journal("--lines 12"), "nothing was left for systemd to kill"
    host.box.sh(f"systemctl start {UNIT}")
    record = host.record(running)
    assert record["status"] in ("queued", "running")
    assert host.client.delete(f"/task/{running}").status_code == 200


def test_the_journal_has_one_entry_an_event_with_its_priority(host: Host) -> None:
    settings = host.box.root() / "etc/vera-worker/worker.toml"
    good = settings.read_text()
    try:
        settings.write_text(good.replace("size = 100", 'size = "many"'))
        host.box.sh(f"systemctl reload {UNIT}")
        host.until(lambda: "not reloaded" in host.show("StatusText"), "it says so")
        assert "not reloaded" in host.journal("--priority err --lines 1 --output cat")
        settings.write_text(good.replace("size = 100", "size = 50"))
        host.box.sh(f"systemctl reload {UNIT}")
        host.until(lambda: host.show("StatusText") == "reloaded", "it says so")
        assert "reloaded: queue.size" in host.journal("--priority info --lines 10")
        assert "reloaded: queue.size" not in host.journal("--priority warning")
        identifiers = host.journal("--output short --lines 3").splitlines()
        assert all(" vera-worker[" in line for line in identifiers if "systemd[" not in line)
    finally:
        settings.write_text(good)


def test_what_a_task_prints_is_found_by_its_id(host: Host) -> None:
    task_id = host.submit("say", "hello\nfrom a task", wait=60)["task_id"]
    other = host.submit("say", "another", wait=60)["task_id"]
    shown = host.box.sh(f"journalctl --no-pager --output cat VERA_TASK_ID={task_id}")
    assert shown.splitlines() == ["hello", "from a task"]
    assert "another" in host.box.sh(f"journalctl --no-pager -t vera-task VERA_TASK_ID={other}")
    assert "from a task" in host.journal("--lines 50")


def test_a_token_for_root_alone_is_passed_on(host: Host) -> None:
    token = host.box.root() / "etc/credstore/vera-worker.token"
    token.parent.mkdir(mode=0o700, exist_ok=True)
    try:
        token.write_text("s3cret\n")
        token.chmod(0o600)
        host.restart()
        assert host.client.get("/tasks").status_code == 401
        headers = {"Authorization": "Bearer s3cret"}
        assert host.client.get("/tasks", headers=headers).status_code == 200
    finally:
        token.unlink()


def test_a_wrong_configuration_is_said_once_and_not_tried_again(host: Host) -> None:
    settings = host.box.root() / "etc/vera-worker/worker.toml"
    good = settings.read_text()
    try:
        settings.write_text(good.replace("size = 100", 'size = "many"'))
        host.box.sh(f"systemctl restart {UNIT}", check=False)
        host.until(lambda: host.show("ActiveState") == "failed", "it gives up")
        assert host.show("ExecMainStatus") == "2"
        said = host.journal("--priority err --lines 2 --output cat")
        assert "worker.toml" in said
        assert "queue.size" in said
    finally:
        settings.write_text(good)
        host.restart()


def test_several_workers_on_one_host(host: Host) -> None:
    files = host.box.root()
    settings = files / "etc/vera-worker/two.toml"
    settings.write_text('[worker]\nid = "two"\n[server]\nport = 0\n')
    try:
        host.box.sh("systemctl start vera-worker@two")
        assert host.box.sh("systemctl is-active vera-worker@two") == "active"
        assert (files / "var/lib/private/vera-worker-two/var/tasks.db").exists()
        assert host.submit("noop", wait=60)["status"] == "completed"
    finally:
        host.box.sh("systemctl stop vera-worker@two")
        settings.unlink()


def test_other_hosts_are_installed_over_ssh(host: Host) -> None:
    (port,) = free_ports(1)
    ssh = f"ssh -q -p {port} -i /root/key -o StrictHostKeyChecking=no -o BatchMode=yes"
    host.box.fetch(_GET_SSHD)
    host.box.sh(_START_SSHD.format(port=port), timeout_s=100)
    try:
        install = "/srv/vera-worker/systemd/install-hosts root@127.0.0.1 root@127.0.0.2; echo $?"
        said = host.box.sh(f"SSH='{ssh}' {install}", timeout_s=300).splitlines()
        assert said[-3:] == [
            "root@127.0.0.1: done",
            "root@127.0.0.2: failed, exit status 255",
            "1",
        ]
        assert [line for line in said if "Active: active (running)" in line]
        assert host.submit("noop", wait=60)["status"] == "completed"
        assert host.box.sh("ls -d /tmp/tmp.* 2>/dev/null | wc -l") == "0"
    finally:
        host.box.sh("systemctl stop test-sshd")


def test_prometheus_takes_its_settings_and_the_alerts(installed: Host) -> None:
    place = installed.box.root() / "srv"
    shutil.copytree(ROOT / "deploy" / "prometheus", place / "prometheus", dirs_exist_ok=True)
    # The tool alone, without the service.
    unpack = "cd /srv && apt-get download -qq prometheus && dpkg -x prometheus_*.deb unpacked"
    installed.box.fetch(unpack)
    check = "/srv/unpacked/usr/bin/promtool check config /srv/prometheus/prometheus.yml"
    assert "SUCCESS: 9 rules found" in installed.box.sh(check)


def test_an_upgrade_keeps_settings_and_tasks(host: Host) -> None:
    settings = host.box.root() / "etc/vera-worker/worker.toml"
    settings.write_text(settings.read_text() + "\n# mine\n")
    task_id = host.submit("echo", "kept", wait=60)["task_id"]
    host.box.sh("/srv/vera-worker/systemd/install", timeout_s=300)
    assert settings.read_text().endswith("\n# mine\n")
    assert host.record(task_id)["result"]["args"] == ["kept"]


def test_an_install_says_why_the_worker_does_not_start(host: Host) -> None:
    settings = host.box.root() / "etc/vera-worker/worker.toml"
    good = settings.read_text()
    try:
        settings.write_text(good.replace("size = 100", 'size = "many"'))
        said = host.box.sh("/srv/vera-worker/systemd/install; echo $?", timeout_s=300).splitlines()
        assert any("worker.toml" in line and "queue.size" in line for line in said), said
        assert said[-2].startswith("install: vera-worker is installed, and does not start")
        assert said[-1] == "1"
    finally:
        settings.write_text(good)
        host.restart()


def test_an_enabled_unit_is_there_after_a_reboot(host: Host) -> None:
    task_id = host.submit("echo", "kept", wait=60)["task_id"]
    host.box.reboot()
    host.until(lambda: host.show("ActiveState") == "active", "it comes up by itself")
    assert host.record(task_id)["result"]["args"] == ["kept"]


def test_what_is_uninstalled_leaves_settings_and_tasks(host: Host) -> None:
    files = host.box.root()
    host.box.sh("/srv/vera-worker/systemd/install --uninstall")
    assert host.show("LoadState") == "not-found" or not (files / "opt/vera-worker").exists()
    assert not list((files / "etc/systemd/system").glob("vera-worker*.service"))
    assert not (files / "opt/vera-worker").exists()
    assert (files / "etc/vera-worker/worker.toml").exists()
    assert (files / "var/lib/private/vera-worker/var/tasks.db").exists()
    host.box.sh("/srv/vera-worker/systemd/install --uninstall")  # twice is no fault
    host.box.sh("/srv/vera-worker/systemd/install", timeout_s=300)
    assert host.submit("noop", wait=60)["status"] == "completed"
