"""What a client that follows the output of a task has not seen of it yet."""

from vera_supervisor.pool.output import left_out, split


class Follower:
    """Remembers how far one client has come; attempts follow each other, each from its start."""

    def __init__(self) -> None:
        self._attempt = 0
        #: Bytes of that attempt, with those that were left out.
        self._seen = 0

    def news(self, attempt: int, printed: bytes) -> bytes:
        """Return what is new in all that an attempt has `printed` so far, as far as it is kept."""
        if attempt != self._attempt:
            self._attempt, self._seen = attempt, 0
        dropped, kept = split(printed)
        missed, known = max(0, dropped - self._seen), max(0, self._seen - dropped)
        self._seen = dropped + len(kept)
        return left_out(missed) + kept[known:]
