"""The functions to try, called directly."""

import ast
import hashlib
import json
import random
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vera_executor import demo
from vera_executor.loading import load


def test_the_calls_of_the_original_design_work() -> None:
    assert demo.analyze_data(1, 2, 3, mode="fast") == {
        "mode": "fast",
        "count": 3,
        "sum": 6,
        "mean": 2.0,
        "min": 1,
        "max": 3,
    }
    assert demo.process_data(1, 2, 3, mode="fast") == {
        "mode": "fast",
        "count": 3,
        "processed": [1, 4, 9],
        "total": 14,
    }


def test_the_full_analysis_adds_median_and_deviation() -> None:
    full = demo.analyze_data(1, 2, 3, 10)
    assert (full["median"], full["stdev"]) == (2.5, pytest.approx(4.0825, abs=1e-4))
    assert demo.analyze_data(7)["stdev"] == 0.0


def test_thorough_processing_adds_roots_where_there_are_any() -> None:
    assert demo.process_data(4, -1, mode="thorough")["roots"] == [2.0, None]


def test_no_numbers_can_be_processed_but_not_analyzed() -> None:
    assert demo.process_data()["total"] == 0
    with pytest.raises(ValueError, match="needs at least one number"):
        demo.analyze_data()


@pytest.mark.parametrize("function", [demo.analyze_data, demo.process_data])
@pytest.mark.parametrize("wrong", ["7", None, True, [1], float("nan"), float("inf")])
def test_what_is_no_number_is_named(function: Any, wrong: Any) -> None:
    with pytest.raises(ValueError, match="numbers can be computed with, not"):
        function(1, wrong)


@pytest.mark.parametrize("function", [demo.analyze_data, demo.process_data])
def test_an_unknown_mode_is_named_with_the_known_ones(function: Any) -> None:
    with pytest.raises(ValueError, match=r"mode 'slow' is not one of '.*', 'fast'"):
        function(1, mode="slow")


@given(st.lists(st.integers(-(10**6), 10**6) | st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_statistics_agree_with_each_other_and_are_json(values: list[float]) -> None:
    result = demo.analyze_data(*values)
    assert result["min"] <= result["median"] <= result["max"]
    assert result["mean"] * result["count"] == pytest.approx(result["sum"], abs=1e-3)
    assert json.loads(json.dumps(result)) == result


def test_words_are_counted() -> None:
    assert demo.word_count("to be or\nnot to be") == {
        "lines": 2,
        "words": 6,
        "characters": 18,
        "unique": 4,
        "most_common": [("to", 2), ("be", 2), ("or", 1), ("not", 1)],
    }
    assert demo.word_count("")["words"] == 0


@pytest.mark.parametrize("algorithm", ["sha256", "md5", "blake2b"])
def test_a_file_is_hashed_whatever_its_size(tmp_path: Path, algorithm: str) -> None:
    data = random.Random(0).randbytes(2 * 1024 * 1024 + 1)
    (tmp_path / "data").write_bytes(data)
    digest = demo.hash_file(str(tmp_path / "data"), algorithm)
    assert digest == hashlib.new(algorithm, data).hexdigest()


@pytest.mark.parametrize("algorithm", ["sha0", "shake_128", ""])
def test_an_unknown_hash_is_named(algorithm: str) -> None:
    with pytest.raises(ValueError, match=f"hash algorithm '{algorithm}' is not known"):
        demo.hash_file(__file__, algorithm)


def test_a_missing_file_is_its_own_error() -> None:
    with pytest.raises(FileNotFoundError, match="no/such/file"):
        demo.hash_file("no/such/file")


def test_the_nodes_of_a_syntax_tree_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "code.py"
    path.write_text("answer = 6 * 7\n")
    # Module, Assign, Name, Store, BinOp, Constant, Mult, Constant
    assert demo.count_ast_nodes(str(path)) == 8


def test_a_file_declares_its_own_encoding(tmp_path: Path) -> None:
    path = tmp_path / "latin.py"
    path.write_bytes(b"# -*- coding: latin-1 -*-\nname = '\xe4'\n")
    assert demo.count_ast_nodes(str(path)) == 5


def test_a_real_module_is_counted() -> None:
    source = Path(sysconfig.get_path("stdlib"), "json", "decoder.py")
    expected = sum(1 for _ in ast.walk(ast.parse(source.read_text())))
    assert demo.count_ast_nodes(str(source)) == expected


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (b"a = 1\ndef f(:\n", "does not parse as Python in line 2: "),
        (b"a = '\xff'\n", "does not parse as Python"),
        (b"# coding: no-such-encoding\n", "does not parse as Python"),
        (b"a = 1\0", "does not parse as Python"),
        (b"(" * 1000, "does not parse as Python"),
        (b"-" * 200_000 + b"1", "does not parse as Python"),
    ],
)
def test_a_file_that_does_not_parse_is_a_clear_error(
    tmp_path: Path, source: bytes, reason: str
) -> None:
    path = tmp_path / "broken.py"
    path.write_bytes(source)
    with pytest.raises(ValueError, match=reason) as caught:
        demo.count_ast_nodes(str(path))
    assert type(caught.value) is ValueError
    assert str(caught.value).startswith(str(path))


def test_warnings_of_the_parsed_file_are_not_ours(tmp_path: Path) -> None:
    path = tmp_path / "warned.py"
    path.write_text("import re\nre.compile('\\d')\nassert (1, 'always true')\n")
    assert demo.count_ast_nodes(str(path)) > 0


def test_sleep_works_outside_of_a_worker() -> None:
    assert demo.sleep(0) == {"slept_s": 0.0, "stopped": False}
    result = demo.sleep(0.001)
    assert result["slept_s"] >= 0.001
    assert result["stopped"] is False


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan")])
def test_no_sleep_is_endless_or_negative(seconds: float) -> None:
    with pytest.raises(ValueError, match="a number of seconds from 0"):
        demo.sleep(seconds)


def test_fail_fails_with_its_message() -> None:
    with pytest.raises(RuntimeError, match="on purpose"):
        demo.fail("on purpose")


def test_echo_returns_what_it_is_given() -> None:
    assert demo.echo(1, a=2) == {"args": (1,), "kwargs": {"a": 2}}


def test_noop_does_nothing() -> None:
    assert demo.noop() is None  # type: ignore[func-returns-value]


def test_every_demo_function_has_types_and_one_sentence() -> None:
    handlers = load([demo.__name__])
    assert set(handlers) == {
        "analyze_data",
        "process_data",
        "word_count",
        "hash_file",
        "count_ast_nodes",
        "sleep",
        "fail",
        "echo",
        "noop",
    }
    for handler in handlers.values():
        assert handler.info.doc.endswith(".")
        assert " -> " in handler.info.signature
