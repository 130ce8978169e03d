"""Whether a package fits a line: its name, its windows, its tags and their units. And a kept package, whole."""

from __future__ import annotations

from edge import bundles
from edge.scoring.worker import Worker
from edge.site import Site
from models.features import FeatureError, Features
from models.package import Package, read


class RefusedError(Exception):
    """A package that a line cannot run; the message says why and what to check."""


def fitted(site: Site, work_unit: str, package: Package) -> Features:
    """Give the features of a package, compiled for a line. Raises RefusedError."""
    line = next(one for one in site.file.lines if one.work_unit == work_unit)
    contract, ruleset, virtual = package.contract, site.rulesets.get(work_unit), site.virtual[work_unit]
    if ruleset is not None and ruleset.model is not None and ruleset.model != contract.name:
        raise RefusedError(f"the ruleset {ruleset.name} asks {ruleset.model}, this is {contract.name}; check [model]")
    shortest, longest = contract.window_s
    if not shortest <= line.window_s <= longest:
        raise RefusedError(
            f"{contract.name} knows windows of {shortest:g} to {longest:g} s; this line's are {line.window_s:g} s"
        )
    units = {tag.spec.name: tag.spec.unit for tag in site.table.of_work_unit(work_unit)}
    units |= {tag.name: tag.unit for tag in virtual.tags}
    try:
        features = Features(contract, virtual.environment)
    except FeatureError as error:
        raise RefusedError(str(error)) from error
    if unfit := features.unfit(units):
        raise RefusedError("; ".join(unfit))
    return features


def kept(site: Site, sha256: str) -> Package:
    """Give a package the gateway keeps: whole, and signed by a key that still is trusted.

    It was tried when it was activated. Raises PackageRefusedError, RefusedError, OSError.
    """
    package = read(bundles.path(site.data, sha256), trusted=site.trusted)
    if package.sha256 != sha256:
        raise RefusedError("the kept package was changed; activate it again")
    return package


async def warm(worker: Worker) -> None:
    """Wait until a package's process is up and has answered its golden rows. Raises RefusedError."""
    failure = await worker.started()
    if failure:
        raise RefusedError(failure)
