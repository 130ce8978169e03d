"""Both ends of protocol 1 as commit 3929ce4 had them, copied and not touched since: the other side in tests of skew."""
