"""Runs in the machine: tries the limits of the worker of the unit `vera`, prints what it saw."""

import json
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

URL = "http://127.0.0.1:5000"
GROUP = Path("/sys/fs/cgroup/system.slice/vera.service")


def call(path: str, body: Any = None, method: str | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(URL + path, data=data, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.loads(answer.read())


def submit(function: str, *args: Any, wait: float = 90, **fields: Any) -> Any:
    payload = {"function": function, "args": args, "kwargs": fields.pop("kwargs", {})}
    return call(f"/task/submit?wait={wait}", {"payload": payload} | fields)


def most_processes(task_id: str) -> int:
    most = 0
    while call(f"/task/{task_id}")["status"] != "failed":
        for group in GROUP.glob("vera-*"):
            try:
                most = max(most, int((group / "pids.current").read_text()))
            except OSError:
                continue
        time.sleep(0.02)
    return most


def systemctl(*arguments: str) -> str:
    ran = subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=False)
    return ran.stdout.strip()


def look() -> dict[str, Any]:
    seen: dict[str, Any] = {"enforcement": call("/health")["enforcement"]}
    seen["subtree_control"] = (GROUP / "cgroup.subtree_control").read_text().split()
    seen["leaf"] = (GROUP / "supervisor" / "cgroup.procs").read_text().split()
    seen["beside"] = (GROUP / "cgroup.procs").read_text().split()
    seen["main_pid"] = systemctl("show", "-P", "MainPID", "vera")
    sibling = submit("sleep", 300, wait=0)["task_id"]
    balloons = {"one process": {"megabytes": 120}, "a tree": {"megabytes": 30, "children": 4}}
    for name, tree in balloons.items():
        seen[name] = submit("balloon", kwargs={"hold_s": 60, **tree})["failure"]
    seen["sibling"] = call(f"/task/{sibling}")["status"]
    seen["within its limit"] = submit("balloon", 30)["status"]
    bomb = submit("fork_bomb", 64, wait=0, timeout=4)["task_id"]
    seen["most_processes"] = most_processes(bomb)
    seen["bomb"] = call(f"/task/{bomb}")["failure"]
    seen["active"] = systemctl("is-active", "vera")
    call(f"/task/{sibling}", method="DELETE")
    systemctl("stop", "vera")
    seen["left"] = sorted(map(str, GROUP.glob("vera-*")))
    return seen


if __name__ == "__main__":
    print(json.dumps(look()))  # noqa: T201
