"""The client verbs of the command line: where each one is, and what it does in one line."""

from typing import Final

VERBS: Final[dict[str, str]] = {
    "demo": "vera_client.commands.demo:demo",
    "submit": "vera_client.commands.submit:submit",
    "map": "vera_client.commands.map:map_tasks",
    "status": "vera_client.commands.tasks:status",
    "output": "vera_client.commands.tasks:output",
    "cancel": "vera_client.commands.tasks:cancel",
    "list": "vera_client.commands.tasks:list_tasks",
    "functions": "vera_client.commands.worker:functions",
    "health": "vera_client.commands.worker:health",
    "top": "vera_client.commands.top:top",
    "drain": "vera_client.commands.worker:drain",
    "resume": "vera_client.commands.worker:resume",
    "reload": "vera_client.commands.worker:reload",
}

HELP: Final[dict[str, str]] = {
    "demo": "Start a worker, push a real workload through it, show the result.",
    "submit": "Submit one task.",
    "map": "Submit one task per line of a file, print the results in order.",
    "status": "Show a task and what became of it.",
    "output": "Show what a task printed.",
    "cancel": "Cancel a task, queued or running.",
    "list": "List tasks, newest first.",
    "functions": "Show what can be called.",
    "health": "Exit 0 when a task sent now would start, 1 otherwise.",
    "top": "Watch a worker: executors, queue, resources, last failures.",
    "drain": "Let running tasks end, take and start no others.",
    "resume": "Take and start tasks again.",
    "reload": "Read the configuration and the task modules again.",
}
