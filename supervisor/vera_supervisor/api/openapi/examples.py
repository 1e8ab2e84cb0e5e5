"""What is sent and answered, once each, as a worker with the demo functions has it."""

from typing import Any, Final

CALL: Final = {"function": "process_data", "args": [1, 2, 3], "kwargs": {"mode": "fast"}}
SUBMISSION: Final = {"payload": CALL, "priority": "high"}
EXECUTION: Final = {"payload": CALL, "timeout": 60}

OUTPUT: Final = "epoch 1 of 3\nepoch 2 of 3\n"

_ID: Final = "01a2169a-70c3-7958-9ffb-a7517cddbf0a"
_RESULT: Final = {"mode": "fast", "count": 3, "processed": [1, 4, 9], "total": 14}

ACCEPTED: Final = {"status": "queued", "task_id": _ID, "position": 1}
RECORD: Final[dict[str, Any]] = {
    "task_id": _ID,
    "status": "completed",
    "payload": CALL,
    "priority": "high",
    "queued_at": "2026-01-15T10:00:00.000000Z",
    "started_at": "2026-01-15T10:00:00.001022Z",
    "completed_at": "2026-01-15T10:00:00.001518Z",
    "result": _RESULT,
    "error": None,
    "attempt": 1,
    "max_retries": 0,
    "worker_id": "worker-1",
    "requirements": None,
    "tags": [],
    "depends_on": [],
    "metadata": None,
    "retry_of": None,
    "progress": None,
    "position": None,
    "blocked_by": None,
    "failure": None,
}
_FAILURE: Final = {
    "cause": "cancelled",
    "type": None,
    "message": "cancelled while it was queued",
    "traceback": None,
    "exit_code": None,
    "signal": None,
    "timeout_s": None,
    "limit_mb": None,
    "peak_memory_mb": None,
    "cpu_seconds": None,
    "duration_s": None,
    "stack": None,
    "output_tail": None,
}
CANCELLED_RECORD: Final = RECORD | {
    "status": "cancelled",
    "started_at": None,
    "result": None,
    "error": "cancelled while it was queued",
    "failure": _FAILURE,
}
PROBLEM: Final = {
    "type": "urn:vera-worker:unacceptable",
    "title": "Well-formed, but not acceptable",
    "status": 422,
    "detail": "payload.function: there is no function 'nothing'; GET /functions lists those there "
    "are",
    "request_id": "300c6f6cb220619b",
    "field": "payload.function",
}
ONE_OF_MANY: Final = [ACCEPTED | {"code": 202}, PROBLEM | {"code": 422, "line": 2}]
PAGE: Final = {"tasks": [RECORD], "cursor": "17"}
_EXECUTORS: Final = {
    "starting": 0,
    "idle": 1,
    "checking": 0,
    "busy": 3,
    "stopping": 0,
    "retiring": 0,
    "killing": 0,
}
_POOLS: Final = {"default": {"max_workers": 4, "queued": 12, "executors": _EXECUTORS}}
HEALTH: Final = {
    "status": "healthy",
    "worker_id": "worker-1",
    "active_tasks": 3,
    "queue_size": 12,
    "cpu_percent": 45.2,
    "memory_percent": 62.1,
    "timestamp": "2026-01-15T10:00:00.000000Z",
    "executors": _EXECUTORS,
    "pools": _POOLS,
    "reasons": [],
    "cpu_usage": 45.2,
    "memory_usage_mb": 9936.0,
    "enforcement": {"memory": "cgroup v2", "processes": "cgroup v2", "kill": "cgroup v2"},
}
_WHY_NOT: Final = {"reasons": ["the worker is draining"]}
DRAINING_HEALTH: Final = HEALTH | {"status": "draining"} | _WHY_NOT
READY: Final = {"status": "ready", "reasons": []}
NOT_READY: Final = {"status": "not ready"} | _WHY_NOT
METRICS: Final = {
    "tasks_completed": 156,
    "tasks_failed": 2,
    "tasks_queued": 12,
    "tasks_cancelled": 1,
    "active_tasks": 3,
    "average_execution_time": 12.5,
    "uptime_seconds": 86400.0,
    "cpu_cores": 8.0,
    "memory_total_gb": 16.0,
    "failures_by_cause": {"timeout": 2},
    "submissions_rejected": 0,
    "late_answers": 0,
    "executors": _EXECUTORS,
    "pools": _POOLS,
}
PROMETHEUS: Final = """\
# HELP tasks_completed_total Tasks that were completed.
# TYPE tasks_completed_total counter
tasks_completed_total 156.0
"""
FUNCTIONS: Final = {
    "functions": [
        {
            "name": "process_data",
            "module": "vera_executor.demo",
            "signature": "(*values: float, mode: str = 'normal') -> dict[str, typing.Any]",
            "doc": "Square numbers and add them up.",
            "pool": "default",
            "limits": {
                "timeout": 120.0,
                "memory": None,
                "memory_tiers": None,
                "max_retries": 3,
                "retry_delay": None,
                "priority": None,
                "max_concurrency": 1,
                "isolation": None,
                "network": None,
            },
            "idempotent": True,
            "usage": None,
        }
    ]
}
RELOADED: Final = {
    "changes": [{"key": "queue.size", "old": 500, "new": 50}],
    "functions": {"added": ["greet"], "removed": [], "changed": []},
}
CONFIG: Final = {
    "executor.max_workers": {"value": 3, "origin": "MAX_WORKERS"},
    "queue.size": {"value": 500, "origin": "worker.toml:9"},
}
CAPABILITIES: Final = {
    "capabilities": ["python", "remote_compute"],
    "max_concurrent_tasks": 4,
    "functions": ["process_data"],
    "worker_id": "worker-1",
}
OUTCOME: Final = {
    "success": True,
    "data": _RESULT,
    "error": None,
    "metrics": {
        "execution_time_ms": 0.5,
        "queue_time_ms": 1.0,
        "attempts": 1,
        "task_id": _ID,
        "worker_id": "worker-1",
    },
}
EVENT: Final = """\
id: 43b73db4-17
event: progress
data: {"task_id":"nap","function":"sleep","status":"running","attempt":1,\
"at":"2026-01-15T10:00:00.000000Z","progress":{"fraction":0.5,"message":"0.1 of 0.2 s"}}

"""
