"""Which lasting faults hold at present, and for whom."""

from __future__ import annotations

from tests.campaign.simulation.world import World

EVERYWHERE = -1


class Weather:
    """Windows of faults that are open; gateways are known by their number, a clone by its original's."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._open: dict[str, dict[tuple[int, int], float]] = {}
        self._serial = 0

    def begin(self, kind: str, where: int, strength: float) -> tuple[int, int]:
        """Open a window; gives what ends it."""
        self._serial += 1
        key = (where if where < self._world.plan.gateways else EVERYWHERE, self._serial)
        self._open.setdefault(kind, {})[key] = strength
        return key

    def end(self, kind: str, key: tuple[int, int]) -> None:
        """Close a window."""
        self._open.get(kind, {}).pop(key, None)

    def clear(self) -> None:
        """Close all of them: the world heals."""
        self._open.clear()

    def strength(self, kind: str, where: int) -> float:
        """Give how strongly a fault holds for a gateway; 0 when it does not."""
        windows = self._open.get(kind)
        if not windows:
            return 0.0
        return max((s for (place, _), s in windows.items() if place in {where, EVERYWHERE}), default=0.0)

    def holds(self, kind: str, where: int) -> bool:
        windows = self._open.get(kind)
        return bool(windows) and any(place in {where, EVERYWHERE} for place, _ in windows)

    def strikes(self, kind: str, where: int, share: float) -> bool:
        """Tell whether a fault hits now: at full strength it does so with probability `share`."""
        strength = self.strength(kind, where)
        if strength and self._world.chance(f"strike/{kind}").random() < max(0.02, strength * share):
            self._world.count(kind)
            return True
        return False
