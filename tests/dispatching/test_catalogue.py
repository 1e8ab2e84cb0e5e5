"""What a catalogue of functions says of limits that hold nobody to anything."""

import pytest

from vera_supervisor.catalogue import Catalogue
from vera_supervisor.config import Config
from vera_supervisor.config.work import FunctionLimits, Limits
from vera_supervisor.supervisor import warn_of_doubts
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


def test_memory_in_one_size_and_in_steps() -> None:
    both = {"both": FunctionLimits(memory=2**20, memory_tiers=(2**21,))}
    (doubt,) = Catalogue([info("both", TaskOptions())], both).doubts
    assert doubt == (
        "tasks.functions.both.memory holds nobody to anything: memory_tiers is set as well; "
        "take one of them out"
    )


def test_the_configuration_has_the_last_word_on_memory_however_it_puts_it() -> None:
    functions = [
        info("stepwise", TaskOptions(memory_tiers=(2**20, 2**21))),
        info("in_one", TaskOptions(memory_tiers=(2**20, 2**21))),
        info("in_steps", TaskOptions(memory=2**20)),
    ]
    configured = {
        "in_one": FunctionLimits(memory=2**22),
        "in_steps": FunctionLimits(memory_tiers=(2**22, 2**23)),
    }
    catalogue = Catalogue(functions, configured)
    assert catalogue.memory == {
        "stepwise": (2**20, 2**21),
        "in_one": (2**22,),
        "in_steps": (2**22, 2**23),
    }
    assert catalogue.doubts == []


def test_memory_of_all_tasks_in_one_size_and_in_steps(caplog: pytest.LogCaptureFixture) -> None:
    one, steps = Limits(task_memory=2**20), Limits(memory_tiers=(2**21,))
    both = Limits(task_memory=2**20, memory_tiers=(2**21,))
    for limits in (one, steps, both):
        warn_of_doubts(Config(limits=limits), Catalogue([], {}))
    (said,) = caplog.messages
    assert said == (
        "limits.task_memory holds nobody to anything: limits.memory_tiers is set as well; "
        "take one of them out"
    )
