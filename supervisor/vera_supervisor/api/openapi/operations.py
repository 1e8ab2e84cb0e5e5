"""Every operation of the API in words: a route that is not described here fails a test."""

from collections.abc import Mapping
from typing import Any, Final

from vera_supervisor.api import answers
from vera_supervisor.api.openapi import examples
from vera_supervisor.api.openapi.parts import (
    ANY_OBJECT,
    ANY_TEXT,
    EVENTS,
    HTML,
    JSON,
    TEXT,
    Answer,
    Body,
    Operation,
    Parameter,
    Section,
    as_json,
    flag,
    json_body,
    lines,
    seconds,
    text,
)
from vera_supervisor.api.problems import LineProblem
from vera_supervisor.api.schemas import (
    Accepted,
    EventOut,
    Execution,
    Filter,
    RecordOut,
    RehearsedTask,
    Submission,
)
from vera_supervisor.feed import Kind
from vera_worker.lifecycle import Status

#: What reading a body can end in, and what a submission can.
_BODY: Final = (408, 413, 415, 422)
_SUBMISSION: Final = (409, *_BODY, 429)
_TASK: Final = (404, 410)

_RECORD_OR_ACCEPTED: Final = {"anyOf": [RecordOut, Accepted]}
_OWN: Final = "A task that another token submitted needs the scope `admin`."
_WAIT: Final = seconds(
    "wait",
    "Hold the answer until the task has ended, for at most so many seconds; capped at "
    "`server.max_wait`.",
)
_LAST_EVENT_ID: Final = Parameter(
    "Last-Event-ID",
    "The id of the last event that was seen: the stream resumes after it.",
    {"type": "string"},
    "header",
)
_STREAM: Final = "Server-sent events; docs/streams.md explains their order, and `reset`."

#: Of one event of a stream.
_EVENT: Final = {
    "type": "object",
    "properties": {
        "event": {"type": "string", "enum": ["state", "reset", *Kind]},
        "id": {"type": "string"},
        "data": {
            "type": "string",
            "contentMediaType": JSON,
            "contentSchema": {"anyOf": [EventOut, RecordOut, ANY_OBJECT]},
        },
    },
}


def _one(code: int, shape: type[Any]) -> Mapping[str, Any]:
    """Return the schema of the answer to one of many: as to a single one, with its status in it."""
    return {"allOf": [shape, {"properties": {"code": {"const": code}}, "required": ["code"]}]}


_ONE_OF_MANY: Final = {
    "anyOf": [
        *(_one(code, shape) for shape in (RecordOut, Accepted) for code in (200, 202)),
        LineProblem,
    ]
}

_TASKS: Final = Section(
    "One task",
    "Submit a task, look at it, wait for it, cancel it.",
    {
        ("POST", "/task/submit"): Operation(
            "submit",
            "Submit a task",
            {
                202: as_json(
                    _RECORD_OR_ACCEPTED,
                    "Accepted, and durable. With `wait`: the record of the task, not ended yet.",
                    examples.ACCEPTED,
                    located=True,
                ),
                200: as_json(
                    {"anyOf": [RecordOut, Accepted, RehearsedTask]},
                    "Accepted before: same `task_id`, same body. With `wait`: the record of the "
                    "ended task. With `dry_run`: what would become of it.",
                    examples.RECORD,
                    located=True,
                ),
            },
            _SUBMISSION,
            (
                _WAIT,
                flag("dry_run", "Only tell what would become of it; nothing is stored or queued."),
            ),
            json_body(Submission, "The task.", examples.SUBMISSION),
            "Sent again with the same `task_id` and the same body, it is the same task: after a "
            "lost answer, send it once more.",
        ),
        ("GET", "/task/{task_id}"): Operation(
            "look",
            "Look at a task",
            {200: as_json(RecordOut, "The record of the task.", examples.RECORD)},
            (*_TASK, 422),
            (_WAIT,),
        ),
        ("DELETE", "/task/{task_id}"): Operation(
            "cancel",
            "Cancel a task, queued or running",
            {
                200: as_json(
                    RecordOut, "The record of the cancelled task.", examples.CANCELLED_RECORD
                )
            },
            (*_TASK, 409),
            description=_OWN,
        ),
        ("POST", "/task/{task_id}/retry"): Operation(
            "retry",
            "Run an ended task again, as a new one",
            {202: as_json(Accepted, "The new task is accepted.", examples.ACCEPTED, located=True)},
            (*_TASK, 409, 422, 429),
            description=_OWN,
        ),
        ("GET", "/task/{task_id}/output"): Operation(
            "output",
            "Read what the last attempt printed",
            {200: Answer("Captured stdout and stderr.", {TEXT: ANY_TEXT}, examples.OUTPUT)},
            (*_TASK, 422),
            (flag("follow", "Keep sending what it prints until the task has ended."),),
        ),
    },
)

_MANY: Final = Section(
    "Many tasks",
    "Submit, list, cancel and forget tasks by the thousand.",
    {
        ("POST", "/tasks"): Operation(
            "submitMany",
            "Submit many tasks in one request",
            {
                200: Answer(
                    "One answer per task, in order: as to a single submission, with its status "
                    "as `code`, or a problem with its `line`.",
                    lines({"type": "array", "items": _ONE_OF_MANY}),
                    examples.ONE_OF_MANY,
                )
            },
            _BODY,
            (
                seconds("wait", "Answer each task with its record, at most so many seconds later."),
                text(
                    "on_full",
                    "What a full queue does: slow the reading down, or refuse the rest.",
                    enum=["wait", "reject"],
                    default="wait",
                ),
            ),
            Body(
                "A JSON array of submissions, or any number of lines of NDJSON.",
                lines({"type": "array", "items": Submission}),
                [examples.SUBMISSION],
            ),
            "Answers stream out while lines stream in. See docs/streams.md.",
        ),
        ("GET", "/tasks"): Operation(
            "list",
            "List tasks, newest first",
            {200: as_json(answers.PageOut, "A page of tasks.", examples.PAGE)},
            (422,),
            (
                text("status", "Only tasks with this status.", enum=list(Status)),
                text("function", "Only tasks of that function."),
                text("tag", "Only tasks with that tag."),
                Parameter(
                    "limit",
                    "At most so many tasks; capped at 1000.",
                    {"type": "number", "minimum": 1, "default": 100},
                ),
                text("cursor", "Where the page before ended.", pattern="^[0-9]{1,18}$"),
            ),
        ),
        ("POST", "/tasks/cancel"): Operation(
            "cancelMany",
            "Cancel the queued and running tasks that match",
            {
                200: as_json(
                    answers.Cancelled, "How many were cancelled.", {"cancelled": 12, "stopping": 1}
                )
            },
            _BODY,
            body=json_body(Filter, "Which tasks.", {"tag": "night"}),
        ),
        ("POST", "/tasks/purge"): Operation(
            "purge",
            "Forget the ended tasks that match",
            {200: as_json(answers.Purged, "How many were forgotten.", {"purged": 157})},
            _BODY,
            body=json_body(Filter, "Which tasks.", {"status": "failed"}),
        ),
    },
)

_WATCHING: Final = Section(
    "Watching",
    "What happens to tasks, while it happens.",
    {
        ("GET", "/events"): Operation(
            "allEvents",
            "Watch all tasks",
            {200: Answer("Events, without end.", {EVENTS: _EVENT}, examples.EVENT)},
            parameters=(_LAST_EVENT_ID,),
            description=_STREAM,
        ),
        ("GET", "/task/{task_id}/events"): Operation(
            "events",
            "Watch one task",
            {
                200: Answer(
                    "Its record, and events up to its end.", {EVENTS: _EVENT}, examples.EVENT
                ),
                204: Answer("It has ended, and `Last-Event-ID` is its end.", {}),
            },
            _TASK,
            (_LAST_EVENT_ID,),
            description=_STREAM,
        ),
    },
)

_WORKER: Final = Section(
    "The worker",
    "Its health, its metrics, its functions.",
    {
        ("GET", "/health"): Operation(
            "health",
            "How the worker stands",
            {
                200: as_json(
                    answers.HealthOut,
                    "`healthy` or `degraded`; `reasons` say why.",
                    examples.HEALTH,
                ),
                503: as_json(
                    answers.HealthOut, "`draining` or `unhealthy`.", examples.DRAINING_HEALTH
                ),
            },
        ),
        ("GET", "/health/live"): Operation(
            "live",
            "Whether its process responds",
            {200: as_json(answers.Live, "It does.", {"status": "live"})},
        ),
        ("GET", "/health/ready"): Operation(
            "ready",
            "Whether a task sent now would start, if need be after those of the queue",
            {
                200: as_json(answers.Ready, "It would.", examples.READY),
                503: as_json(answers.Ready, "It would not; `reasons` say why.", examples.NOT_READY),
            },
        ),
        ("GET", "/metrics"): Operation(
            "metrics",
            "What was counted since the start",
            {200: as_json(answers.MetricsOut, "Counts and measures.", examples.METRICS)},
        ),
        ("GET", "/metrics/prometheus"): Operation(
            "prometheus",
            "The same and more, for Prometheus",
            {200: Answer("Prometheus' text format.", {TEXT: ANY_TEXT}, examples.PROMETHEUS)},
        ),
        ("GET", "/functions"): Operation(
            "functions",
            "What can be called",
            {
                200: as_json(
                    answers.Functions,
                    "Functions with signature, doc and limits.",
                    examples.FUNCTIONS,
                )
            },
        ),
    },
)

_RULING: Final = Section(
    "Administration",
    "Each of these leaves a line in the audit log.",
    {
        ("POST", "/admin/drain"): Operation(
            "drain",
            "Let running tasks end; accept and start no others",
            {
                200: as_json(
                    answers.Draining, "It drains.", {"active_tasks": 3, "status": "draining"}
                )
            },
        ),
        ("POST", "/admin/resume"): Operation(
            "resume",
            "Accept and start tasks again",
            {200: as_json(answers.Resumed, "It accepts tasks again.", {"status": "healthy"})},
        ),
        ("POST", "/admin/reload"): Operation(
            "reload",
            "Read configuration and code again: all of it takes effect, or nothing",
            {200: as_json(answers.Reloaded, "What has changed.", examples.RELOADED)},
            (409, 422),
        ),
        ("GET", "/admin/config"): Operation(
            "config",
            "The configuration in force, and where each value came from",
            {
                200: as_json(
                    {"type": "object", "additionalProperties": answers.Setting},
                    "Every key by its dotted name; secrets are masked.",
                    examples.CONFIG,
                )
            },
        ),
    },
)

_ORCHESTRATOR: Final = Section(
    "Vera's orchestrator",
    "What it calls on a remote worker.",
    {
        ("GET", "/capabilities"): Operation(
            "capabilities",
            "What this worker can do",
            {200: as_json(answers.Capabilities, "Its capabilities.", examples.CAPABILITIES)},
        ),
        ("POST", "/execute"): Operation(
            "execute",
            "Run a task and wait for its end",
            {
                200: as_json(
                    answers.Outcome,
                    "What became of it; 200 for a failed task, too.",
                    examples.OUTCOME,
                )
            },
            _SUBMISSION,
            body=json_body(Execution, "The task.", examples.EXECUTION),
            description="Sent again with the same `id` and the same body, it is the same task: "
            "waited for while it runs, its result once it has completed. One that has failed or "
            "was cancelled is run again, as a new task, unless its function is not idempotent.",
        ),
    },
)

_DOCUMENTS: Final = Section(
    "Documents",
    "What you are reading.",
    {
        ("GET", "/openapi.json"): Operation(
            "openapi", "This API as OpenAPI 3.1", {200: Answer("The document.", {JSON: ANY_OBJECT})}
        ),
        ("GET", "/docs"): Operation(
            "docs", "This API as a page", {200: Answer("A page without scripts.", {HTML: ANY_TEXT})}
        ),
        ("GET", "/"): Operation(
            "index", "Where to go from here", {200: Answer("A page of links.", {HTML: ANY_TEXT})}
        ),
    },
)

SECTIONS: Final = (_TASKS, _MANY, _WATCHING, _WORKER, _RULING, _ORCHESTRATOR, _DOCUMENTS)
