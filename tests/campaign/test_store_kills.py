"""The engine of store kills: no promise is broken, and writers that promise too much are noticed."""

from __future__ import annotations

from tests.campaign.kill.mutants import try_all
from tests.campaign.kill.store import run


def test_what_was_acknowledged_is_there_after_kill_9():
    result = run(count=40, seed=0, log=lambda _said: None)
    assert result.violations == []
    assert result.faults["kill"] == 40
    assert result.faults["second kill inside recovery"] > 0
    assert result.sums["acknowledged commits"] > 40


def test_writers_that_promise_what_is_not_there_are_noticed(capsys):
    caught = try_all(print, kills=20)
    assert all(caught.values()), caught
    assert "noticed by" in capsys.readouterr().out
