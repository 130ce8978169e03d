from __future__ import annotations

import pytest
from asyncua import ua

from tests.contracts.driver_contract import CONTRACT
from tests.edge.drivers.machines import URI, OpcUaMachine, tag

T = ua.VariantType


def small_machine() -> OpcUaMachine:
    return OpcUaMachine(
        {
            "temperature": ua.Variant(61.5, T.Double),
            "count": ua.Variant(12, T.UInt32),
            "running": ua.Variant(True, T.Boolean),
            "product": ua.Variant("cola-330", T.String),
        },
        [
            tag(3, f"nsu={URI};s=temperature"),
            tag(4, f"nsu={URI};s=count", type="uint32"),
            tag(5, f"nsu={URI};s=running", type="bool"),
            tag(9, f"nsu={URI};s=product", type="string"),
        ],
    )


@pytest.mark.parametrize("promise", CONTRACT, ids=lambda promise: promise.__name__)
async def test_opcua_keeps_the_driver_contract(promise) -> None:
    await promise(small_machine())
