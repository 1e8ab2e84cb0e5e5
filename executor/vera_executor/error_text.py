"""Errors of other people's code as text: bounded, and fit to be sent whatever they do."""

import traceback as traceback_module
from collections.abc import Collection
from typing import Final

#: Longest message and traceback; a recursion's traceback tells nothing more in its middle.
_MAX_CHARACTERS: Final = 16 * 1024


def message(error: BaseException) -> str:
    """Return the error's message."""
    try:
        text = str(error)
    except BaseException as broken:  # noqa: BLE001 - its own __str__ may fail in any way
        text = f"(its message cannot be shown: {type(broken).__name__})"
    return _clip(text)


def summary(error: BaseException) -> str:
    """Return the error's type and message."""
    return f"{type(error).__name__}: {message(error)}"


def place(error: BaseException, ours: Collection[str]) -> str:
    """Return where the error comes from, as "file:line"; "" where that is in modules of `ours`."""
    found, below = "", error.__traceback__
    while below is not None:
        if below.tb_frame.f_globals.get("__name__") not in ours:
            found = f"{below.tb_frame.f_code.co_filename}:{below.tb_lineno}"
        below = below.tb_next
    return found


def traceback(error: BaseException, leading: Collection[str]) -> str:
    """Return the error's traceback without the frames of modules in `leading` that it begins with.

    That leaves the frames of those who can do something about it.
    """
    below = error.__traceback__
    while below is not None and below.tb_frame.f_globals.get("__name__") in leading:
        below = below.tb_next
    try:
        lines = traceback_module.format_exception(type(error), error, below)
    except BaseException:  # noqa: BLE001 - as above
        return ""
    return _clip("".join(lines))


def _clip(text: str) -> str:
    text = text.encode("utf-8", "backslashreplace").decode()
    if len(text) <= _MAX_CHARACTERS:
        return text
    half = _MAX_CHARACTERS // 2
    left_out = len(text) - 2 * half
    return f"{text[:half]}\n[… {left_out} characters left out …]\n{text[-half:]}"
