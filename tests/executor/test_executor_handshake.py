from tests.executor.harness import Child


def test_x(child: Child) -> None:
    a, b = child.call("imported_by")
    assert a == b
    print(child.call("echo", 1, b=2))
