"""Model packages we ship, each with the script that builds it (`make models`); needs `triflow[train]`, never a gateway.

`building` is what they share: windows to rows, held-out runs, intervals, parity of trainer and ONNX, packing.
"""
