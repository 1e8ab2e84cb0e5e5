"""What the executors of one pool are given besides their functions."""

from collections.abc import Mapping

import msgspec


class Outfit(msgspec.Struct, frozen=True, kw_only=True):
    """How the executors of a pool start, and how far they may grow."""

    #: Variables of their environment.
    environment: Mapping[str, str] = {}
    #: The variable that tells each executor its GPU, and the GPUs by seat; none: it is not set.
    gpu_variable: str = ""
    gpus: tuple[int, ...] = ()
    #: The function that each calls before it takes tasks.
    warm_up: str | None = None
    #: Bytes by which one may grow after its first task; None: without limit.
    max_growth: int | None = None

    def variables(self, seat: int) -> dict[str, str]:
        """Return the variables of the executor that has that seat in its pool."""
        own = {self.gpu_variable: str(self.gpus[seat])} if self.gpus else {}
        return {**self.environment, **own}
