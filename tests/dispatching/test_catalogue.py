"""What a catalogue of functions says of limits that hold nobody to anything."""

from vera_supervisor.catalogue import Catalogue
from vera_supervisor.config.work import FunctionLimits
from vera_worker.handlers import FunctionInfo, TaskOptions
from vera_worker.tasks import Isolation


def info(name: str, options: TaskOptions) -> FunctionInfo:
    return FunctionInfo(
        name=name, module="m", signature="()", doc="", parameters=(), options=options
    )


def test_a_limit_of_a_function_that_there_is_not() -> None:
    (doubt,) = Catalogue([], {"gone": FunctionLimits(timeout=1.0)}).doubts
    assert doubt == "tasks.functions.gone: no task module offers such a function"


def test_without_a_sandbox_nobody_is_kept_from_the_network() -> None:
    no_network = TaskOptions(network=False)
    functions = [info("said_in_code", no_network), info("confined", no_network)]
    sandboxed = {"confined": FunctionLimits(isolation=Isolation.SANDBOXED)}
    (doubt,) = Catalogue(functions, sandboxed).doubts
    assert doubt == (
        "the function said_in_code can use the network: network = false holds only with "
        'isolation = "sandboxed"'
    )
