"""Server-sent events out of lines; nothing here does I/O."""

import msgspec

from vera_client.records import TaskEvent


class EventReader:
    """Takes one line after the other, without its end."""

    def __init__(self) -> None:
        self._fields: dict[str, str] = {}

    def feed(self, line: str) -> TaskEvent | None:
        """Return the event that `line` completes, if it does."""
        if line:
            name, _, value = line.partition(": ")
            self._fields[name] = value
            return None
        fields, self._fields = self._fields, {}
        if "data" not in fields:
            return None  # a sign of life
        data = msgspec.json.decode(fields["data"])
        return TaskEvent(kind=fields.get("event", "message"), id=fields.get("id"), data=data)
