from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.edge.drivers.opcua.plants import Plant


@pytest.fixture(scope="module")
def node_plant(tmp_path_factory) -> Iterator[Plant]:
    """A running node-opcua server with five counting tags; a test gives it the tags it wants read."""
    plant = Plant(tmp_path_factory.mktemp("plant"), [], tags=5)
    plant.launch()
    try:
        yield plant
    finally:
        plant.kill()
