from __future__ import annotations

import pytest

from edge.drivers.glob import Glob


def matches(pattern: str, path: str) -> bool:
    glob = Glob.of(pattern)
    state = glob.start()
    for name in path.split("/"):
        state = glob.step(state, name)
    return glob.matches(state)


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("**", ["a", "a/b/c"], []),
        ("", ["a", "a/b/c"], []),
        ("a/*", ["a/b"], ["a", "a/b/c", "b/b"]),
        ("**/speed", ["speed", "a/speed", "a/b/speed"], ["a/speeds", "speed/a"]),
        ("a/**", ["a", "a/b", "a/b/c"], ["b/a"]),
        ("a/**/c", ["a/c", "a/b/c", "a/b/b/c"], ["a", "c", "a/b"]),
        ("a/**/b/**/c", ["a/b/c", "a/x/b/y/c"], ["a/c", "a/b"]),
        ("/line?/t*[0-9]/", ["line1/temp7"], ["line12/temp7", "line1/temp"]),
        ("설비/*", ["설비/온도"], ["설비"]),
    ],
)
def test_a_glob_means_these_paths_and_no_others(pattern, yes, no) -> None:
    assert [path for path in yes if not matches(pattern, path)] == []
    assert [path for path in no if matches(pattern, path)] == []


def test_a_branch_that_cannot_match_any_more_is_left() -> None:
    glob = Glob.of("line1/*/count")
    assert not glob.step(glob.start(), "line2")
    deep = glob.step(glob.step(glob.start(), "line1"), "press")
    assert glob.goes_on(deep)
    assert not glob.goes_on(glob.step(deep, "count"))
