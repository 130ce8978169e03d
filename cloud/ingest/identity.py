"""Numbers for names: gateways, incarnations, tags. Learnt from the database once, remembered while the process runs."""

from __future__ import annotations

import json

from cloud.database import Connection
from cloud.ingest.readings import Tag
from sync.facts import TagDictionary
from sync.topics import Address


class Identities:
    """What is known of names; thrown away when a transaction that added to it was rolled back."""

    def __init__(self) -> None:
        self._gateways: dict[Address, int] = {}
        self._incarnations: dict[tuple[int, str], int] = {}
        self._dictionaries: dict[tuple[int, str], list[Tag]] = {}

    def gateway(self, connection: Connection, address: Address) -> int:
        """Give the number of a gateway."""
        if (number := self._gateways.get(address)) is None:
            key = (address.tenant, address.site, address.gateway)
            connection.execute("insert into gateway(tenant, site, name) values(?,?,?) on conflict do nothing", key)
            row = connection.one("select id from gateway where tenant=? and site=? and name=?", key)
            number = self._gateways[address] = int(row[0]) if row else 0
        return number

    def incarnation(self, connection: Connection, gateway: int, inc: str, address: Address, now_ms: int) -> int:
        """Give the number of one start of a gateway."""
        if (number := self._incarnations.get((gateway, inc))) is None:
            connection.execute(
                "insert into incarnation(tenant, gateway, inc, first_seen_ms) values(?,?,?,?) on conflict do nothing",
                (address.tenant, gateway, inc, now_ms),
            )
            row = connection.one("select id from incarnation where gateway=? and inc=?", (gateway, inc))
            number = self._incarnations[gateway, inc] = int(row[0]) if row else 0
        return number

    def dictionary(self, connection: Connection, gateway: int, version: str) -> list[Tag] | None:
        """Give the tags of a dictionary in the gateway's order; None when it never came.

        The version is a digest of the content: the same version of another incarnation is the same dictionary.
        """
        if (tags := self._dictionaries.get((gateway, version))) is None:
            row = connection.one("select tags from dictionary where gateway=? and version=?", (gateway, version))
            if row is None:
                return None
            named = {
                number: Tag(id=number, name=name, line=line)
                for number, name, line in connection.execute(
                    "select id, name, work_unit from tag where gateway=?", (gateway,)
                )
            }
            tags = self._dictionaries[gateway, version] = [named[number] for number in json.loads(row[0])]
        return tags

    def learn(self, connection: Connection, gateway: int, tenant: str, fact: TagDictionary) -> None:
        """Take a dictionary in: its tags get their numbers, and what they mean now."""
        connection.many(
            "insert into tag(tenant, gateway, name, work_unit, unit, role, low, high) values(?,?,?,?,?,?,?,?)"
            " on conflict(gateway, name) do update set unit=excluded.unit, role=excluded.role, low=excluded.low,"
            " high=excluded.high",
            [
                (tenant, gateway, entry.id, entry.id.rpartition("/")[0], entry.unit, entry.role, entry.low, entry.high)
                for entry in fact.tags
            ],
        )
        numbers = dict(connection.execute("select name, id from tag where gateway=?", (gateway,)))
        connection.execute(
            "insert into dictionary(gateway, version, tenant, tags) values(?,?,?,?) on conflict do nothing",
            (gateway, fact.version, tenant, json.dumps([numbers[entry.id] for entry in fact.tags])),
        )
