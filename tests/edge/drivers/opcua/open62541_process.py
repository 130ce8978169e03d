"""A secured open62541 server in a process of its own: `python -m … PORT FOLDER`, which holds its certificate, its key and whom it trusts."""

from __future__ import annotations

import logging
import signal
import sys
from pathlib import Path

from tests.edge.drivers.machines import URI


def main(port: int, folder: Path) -> None:
    import o6  # here, because it prints a banner and may end the process that loads it

    logging.getLogger("o6.server").setLevel(logging.ERROR)
    server = o6.Server(
        port=port,
        certificate=folder / "server.der",
        privateKey=(folder / "server.key.der").read_bytes(),
        trustList=sorted((folder / "trusted").glob("*.der")),
        secureOnly=len(sys.argv) > 3,
        applicationUri=URI,
    )
    server.addVariable("answer", server.objectsNode, o6.Int32(42), nodeId=o6.NodeId("ns=1;s=answer"))
    with server:
        signal.pause()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
