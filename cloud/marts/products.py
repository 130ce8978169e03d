"""Products as they were: versions by event time, so that a late fact meets the version that was true at its time."""

from __future__ import annotations

import hashlib

from cloud.database import Connection

NS = 1_000_000


def version_id(tenant: str, site: str, product: str, valid_from_ms: int) -> str:
    """Name a version; the same wherever and whenever it is made."""
    return hashlib.sha256(f"{tenant}/{site}/{product}/{valid_from_ms}".encode()).hexdigest()[:16]


def arrange(connection: Connection, tenant: str, site: str, product: str) -> None:
    """Make a product's versions anew from every definition there is, whatever order they came in.

    Before the first definition it is an inferred member; a definition that says nothing new makes no version.
    """
    key = (tenant, site, product)
    versions: list[tuple[int, str, str, int, int | None]] = [(0, "{}", "{}", 1, None)]
    for at, name, cycle, recorded in connection.execute(
        "select d.at, d.name, d.ideal_cycle_ms, d.recorded_ms from product_definition d join incarnation i on i.id=d.inc"
        " where d.tenant=? and d.site=? and d.product=? order by d.at, i.ord, d.inc, d.seq",
        key,
    ):
        begin = at // NS
        if versions[-1][0] == begin:
            versions.pop()
        if not versions or versions[-1][1:4] != (name, cycle, 0):
            versions.append((begin, name, cycle, 0, recorded))
    connection.execute("delete from dim_product where tenant=? and site=? and product=?", key)
    ends = [one[0] for one in versions[1:]] + [None]
    connection.many(
        "insert into dim_product(tenant, site, product, valid_from_ms, valid_to_ms, version_id, name, ideal_cycle_ms,"
        " inferred, recorded_ms) values(?,?,?,?,?,?,?,?,?,?)",
        [
            (*key, begin, end, version_id(*key, begin), *said)
            for (begin, *said), end in zip(versions, ends, strict=True)
        ],
    )


def infer(connection: Connection, tenant: str, site: str, product: str) -> None:
    """Let a product that only facts name be a member, marked as inferred."""
    connection.execute(
        "insert into dim_product(tenant, site, product, valid_from_ms, valid_to_ms, version_id, name, ideal_cycle_ms,"
        " inferred) values(?,?,?,0,null,?,'{}','{}',1) on conflict do nothing",
        (tenant, site, product, version_id(tenant, site, product, 0)),
    )
