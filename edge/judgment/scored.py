"""From a model's reply to what a verdict is told of it: one function for the line and for a replay. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from edge.judgment.asked import Asked
from models.features import Features
from models.package import Package
from models.reply import Reply, reply, usual
from sync.judgment import Scored


def scored(asked: Asked, said: Reply, *, latency_us: int = 0, drifted: bool = False) -> Scored:
    """Give what a model said of a window. The confidence is the model's own; what drift does to it, the policy says."""
    if said.failure is not None:
        return failed(asked, said.failure, latency_us=latency_us, drifted=drifted)
    return Scored(
        model=asked.model,
        version=asked.version,
        sha256=asked.sha256,
        decision=said.decision,
        confidence=said.confidence,
        label=said.label,
        scores=said.outputs,
        features=asked.features,
        contributions=said.contributions,
        latency_us=latency_us,
        drifted=drifted,
    )


def failed(asked: Asked, why: str, *, latency_us: int = 0, drifted: bool = False) -> Scored:
    """Give that a model said nothing. why: KIND or `KIND: detail`."""
    return Scored(
        model=asked.model,
        version=asked.version,
        sha256=asked.sha256,
        features=asked.features,
        failure=why,
        latency_us=latency_us,
        drifted=drifted,
    )


class PackagedModel:
    """A package's model for replays, asked here and now: no process, no deadline, no breaker."""

    def __init__(self, package: Package) -> None:
        """package: one that was verified. Raises models.session.ModelError, models.features.FeatureError."""
        from models.session import Session

        self.name, self.version, self.sha256 = package.contract.name, package.contract.version, package.sha256
        self._features = Features(package.contract)
        self._session = Session(package.model, package.contract)
        self._usual = usual(package)

    def score(self, features: Mapping[str, float | None]) -> Scored:
        """Give what it says to recorded features, `Scored.features`; the bits are the line's."""
        vector = self._features.recalled(features)
        asked = Asked(model=self.name, version=self.version, sha256=self.sha256, features=vector.named)
        if vector.failure is not None:
            return failed(asked, vector.failure)
        return scored(asked, reply(self._session, vector.row, self._usual))
