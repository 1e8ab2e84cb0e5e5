"""What task authors import, and the words that supervisor and executor share.

from vera_worker import task, current_task, progress
"""

from vera_worker.context import TaskContext, current_task, progress
from vera_worker.errors import VeraError
from vera_worker.handlers import task

__all__ = ["TaskContext", "VeraError", "current_task", "progress", "task"]
__version__ = "0.1.0"
