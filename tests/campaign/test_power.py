"""The engine of power cuts: nothing that was acknowledged is lost; a log that is not synced loses; none is passed over."""

from __future__ import annotations

import os

import pytest

from tests.campaign.power import run
from tests.campaign.power.control import try_all
from tests.campaign.power.mount import why_not


def test_what_was_acknowledged_is_there_after_a_power_cut():
    result = run(count=4, seed=0, log=lambda _said: None)
    if why := why_not():
        assert result.unavailable == why
        assert result.count == 0
        return
    assert result.violations == []
    assert result.count == result.faults["cut of ext4"] == 4
    assert result.sums["acknowledged commits"] > 4


def test_a_log_that_is_not_synced_loses():
    if why_not() is None:
        caught = try_all(lambda _said: None)
        assert all(caught.values()), caught


def test_a_machine_that_cannot_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    result = run(count=5, seed=0, log=lambda _said: None)
    assert result.count == 0
    assert "root" in (result.unavailable or "")
