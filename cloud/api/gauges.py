"""What Prometheus sees of gateways and marts: read from the database when it asks."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Gauge

from cloud.api.answers import Answers
from cloud.bi.alerts import standing
from cloud.bi.completeness import accounts
from cloud.bi.overview import gateways
from cloud.database import Connection
from cloud.marts import ledger


class Gauges:
    """Gauges by gateway; `read` brings them up to date."""

    def __init__(self, answers: Answers, registry: CollectorRegistry) -> None:
        self._answers = answers
        names = ["tenant", "site", "gateway"]
        self._online = Gauge("triflow_gateway_online", "1 while it reports", names, registry=registry)
        self._waiting = Gauge("triflow_gateway_waiting_records", "Records it still holds", names, registry=registry)
        self._age = Gauge("triflow_gateway_data_age_seconds", "Age of its newest data", names, registry=registry)
        self._missing = Gauge(
            "triflow_gateway_missing_records",
            "Records nobody accounts for; not 0 is an alarm",
            names[::2],
            registry=registry,
        )
        self._alerts = Gauge("triflow_alert", "1 while it is raised", [*names, "kind", "severity"], registry=registry)
        self._pending = Gauge("triflow_mart_pending_buckets", "Buckets to recompute", registry=registry)

    async def read(self) -> None:
        """Set every gauge. Raises DatabaseError."""
        await self._answers.database.read(self._set)

    def _set(self, connection: Connection) -> None:
        now_ms = time.time_ns() // 1_000_000
        plants = self._answers.plants
        self._alerts.clear()
        for tenant in plants.tenants:
            for one in gateways(connection, plants, tenant, now_ms):
                labels = (tenant, one["site"], one["id"])
                self._online.labels(*labels).set(one["online"])
                self._waiting.labels(*labels).set(one["waiting"])
                self._age.labels(*labels).set(float("nan") if one["data_age_s"] is None else one["data_age_s"])
            for account in accounts(connection, tenant):
                missing = sum(stream.missing for stream in account.accounts)
                self._missing.labels(tenant, account.gateway).set(missing)
            for one in standing(connection, tenant):
                self._alerts.labels(tenant, one["site"], one["gateway"], one["kind"], one["severity"]).set(1)
        self._pending.set(ledger.pending(connection, now_ms))
