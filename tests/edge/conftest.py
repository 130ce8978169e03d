"""Fixtures of the edge's tests."""

from __future__ import annotations

from tests.sync.conftest import embedded  # noqa: F401 - the embedded broker, as a fixture here too
