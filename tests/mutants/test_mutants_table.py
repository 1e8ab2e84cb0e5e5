"""The table of mutants keeps step with the code: each still fits, and its tests are there."""

import pytest

from tests.mutants.table import ROOT, Mutant, mutants


@pytest.mark.parametrize("mutant", mutants(), ids=str)
def test_a_mutant_fits_the_code_and_its_tests_exist(mutant: Mutant) -> None:
    mutant.applied_to((ROOT / mutant.file).read_text())
    assert mutant.tests
    for test in mutant.tests:
        file, _, name = test.partition("::")
        function = name.rpartition("::")[2].partition("[")[0]
        assert not name or f"def {function}(" in (ROOT / file).read_text(), test


def test_a_mutant_that_fits_nowhere_or_twice_is_refused() -> None:
    mutant = Mutant("D0", "a fault", "a.py", "old", "new", [])
    assert mutant.applied_to("an old one") == "an new one"
    for source in ("nothing", "old and old"):
        with pytest.raises(ValueError, match="not once"):
            mutant.applied_to(source)
