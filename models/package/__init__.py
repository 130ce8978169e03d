"""Model packages: a `.tfm` file holds an ONNX model, its contract, proofs of what it answers, and a signature.

`contract` says what a model takes and gives, `archive` how the file is laid out, `content` reads and writes packages,
`signature` says who vouches for one, `verification` decides whether a gateway may run it. docs/models.md explains.
"""

from models.package.archive import PackageRefusedError
from models.package.content import Build, Golden, GoldenRow, Package, read, unsigned, write
from models.package.contract import Chosen, Contract, Feature, Input, Label, Output, Training

__all__ = [
    "Build",
    "Chosen",
    "Contract",
    "Feature",
    "Golden",
    "GoldenRow",
    "Input",
    "Label",
    "Output",
    "Package",
    "PackageRefusedError",
    "Training",
    "read",
    "unsigned",
    "write",
]
