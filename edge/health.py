"""The gateway about itself: what the page shows, what Prometheus scrapes, what goes up as a heartbeat."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from edge.acting.status import acting_told
from edge.flow import Flow
from edge.link_state import UplinkState
from edge.store import StoreCounts
from sync.timing import UNSET_BEFORE_NS


class Health:
    """Looks at flow, store and uplink; owns nothing."""

    def __init__(self, flow: Flow, uplink: UplinkState | None) -> None:
        self.flow, self.uplink = flow, uplink

    def status(self) -> dict[str, Any]:
        """Give what `GET /api/status` answers."""
        flow, now = self.flow, self.flow.clock.now()
        counts = flow.store.counts()
        gateway = flow.site.file.gateway
        return {
            "gateway": gateway.id,
            "site": gateway.site,
            "language": gateway.language,
            "timezone": gateway.timezone,
            "now": now // 1_000_000,
            "incarnation": flow.store.incarnation,
            "uplink": self._uplink(now),
            "store": {
                "produced": counts.produced,
                "waiting": counts.waiting,
                "lost": counts.lost,
                "waiting_bytes": counts.waiting_bytes,
                "oldest_age_s": None if counts.oldest_at is None else max(0.0, (now - counts.oldest_at) / 1e9),
                "autonomy_hours": counts.autonomy_hours,
                "blocked": counts.blocked,
                "ring_bytes": counts.ring_bytes,
                "commit_p99_ms": counts.commit_p99_ms,
            },
            "sources": [
                {
                    "name": source.name,
                    "state": source.state,
                    "since": source.since // 1_000_000,
                    "why": source.why,
                    "data_age_s": None if source.newest == 0 else max(0.0, (now - source.newest) / 1e9),
                    "bad_tags": len(source.health.bad_items),
                    "notes": source.health.notes,
                }
                for source in flow.sources.values()
            ],
            "warnings": [{"kind": kind, "text": text} for kind, text in self._warnings(counts, now)],
            "lines": [self._line(work_unit) for work_unit in flow.pipelines],
            "models": [
                asdict(state) | {"failures": dict(sorted(state.failures.items()))} for state in flow.scoring.states()
            ],
            "acting": acting_told(flow.acting, list(flow.pipelines)),
            "judged_total": flow.judged,
            "judged_while_offline": flow.judged_offline,
        }

    def _warnings(self, counts: StoreCounts, now: int) -> Iterator[tuple[str, str]]:
        """Give what a person must look at: (kind, the sentence), gravest first."""
        if counts.blocked is not None:
            yield "blocked", counts.blocked
        for subject, why in sorted(counts.alarms.items()):
            yield subject.partition(".")[0], why
        if now < UNSET_BEFORE_NS:
            yield "clock", "the clock was never set: times are dated right once it is; check the time service"
        if self.uplink is not None and self.uplink.identity != "ok":
            yield (
                "identity",
                "another box speaks with this gateway's identity; the cloud keeps both apart until one is chosen",
            )
        if self.uplink is not None and self.uplink.cloud_key_changed:
            yield "cloud_key", "the cloud signs with another key than before; ask who changed it"
        for work_unit, pipeline in self.flow.pipelines.items():
            if pipeline.shortened:
                yield (
                    "verdict_size",
                    f"verdicts of {work_unit} are too large to be recorded whole; let its ruleset have fewer charts",
                )

    def _uplink(self, now: int) -> dict[str, Any]:
        if self.uplink is None:
            return {
                "state": "not configured",
                "since": None,
                "last_receipt_age_s": None,
                "why": "",
                "identity": "ok",
                "cloud_key_changed": False,
            }
        receipt = self.uplink.last_receipt_at
        return {
            "state": self.uplink.state,
            "since": self.uplink.since // 1_000_000,
            "last_receipt_age_s": None if receipt is None else max(0.0, (now - receipt) / 1e9),
            "why": self.uplink.why,
            "identity": self.uplink.identity,
            "cloud_key_changed": self.uplink.cloud_key_changed,
        }

    def _line(self, work_unit: str) -> dict[str, Any]:
        pipeline = self.flow.pipelines[work_unit]
        production, verdict = pipeline.production.now, pipeline.last_verdict
        context = pipeline.production.context
        line = next(line for line in self.flow.site.file.lines if line.work_unit == work_unit)
        return {
            "work_unit": work_unit,
            "name": None if line.name is None else line.name.model_dump(),
            "state": production.state,
            "state_since": production.state_at // 1_000_000 or None,
            "reason": production.reason,
            "order": context.order,
            "product": context.product,
            "lot": context.lot,
            "context_stale": context.stale,
            "counters": production.counters,
            "judged": pipeline.judged,
            "last_verdict": None if verdict is None else verdict.at // 1_000_000,
            "verdict": None if verdict is None else verdict.verdict_id,
            "decision": None if verdict is None else verdict.decision,
            "confidence": None if verdict is None else verdict.confidence,
            "summary": {} if verdict is None else verdict.summary,
        }

    def tags(self) -> list[dict[str, Any]]:
        """Give every tag with its last value, quality and time: what `GET /api/tags` answers."""
        rows: list[dict[str, Any]] = []
        for pipeline in self.flow.pipelines.values():
            columns = pipeline.columns
            for i, tag in enumerate(pipeline.tags):
                value: Any = columns.text.get(i)
                if value is None and columns.value[i] == columns.value[i]:
                    value = float(columns.value[i])
                seen = int(columns.time[i])
                rows.append(
                    {
                        "id": tag.id,
                        "value": value,
                        "unit": tag.spec.unit,
                        "status": int(columns.status[i]),
                        "source_time": seen // 1_000_000 if seen > 0 else None,
                        "address": tag.address,
                        "connection": tag.connection,
                    }
                )
        return rows

    def ready(self) -> tuple[bool, dict[str, str]]:
        """Tell whether every part works; the store must, sources and uplink are reported."""
        blocked = self.flow.store.counts().blocked
        parts = {"store": blocked or "healthy"}
        parts |= {
            f"source {s.name}": "healthy" if s.state == "connected" else "degraded" for s in self.flow.sources.values()
        }
        if self.uplink is not None:
            parts["uplink"] = "healthy" if self.uplink.state == "streaming" else "degraded"
        return blocked is None, parts

    def metrics(self) -> bytes:
        """Give Prometheus text: counted by the real parts at the moment of asking."""
        registry = CollectorRegistry()
        registry.register(_Metrics(self))
        return generate_latest(registry)


class _Metrics(Collector):
    def __init__(self, health: Health) -> None:
        self._health = health

    def collect(self) -> list[GaugeMetricFamily | CounterMetricFamily]:
        flow, uplink = self._health.flow, self._health.uplink
        counts, now = flow.store.counts(), flow.clock.now()
        connected = GaugeMetricFamily("driver_connected", "1 while the source answers", labels=["driver"])
        reconnects = CounterMetricFamily("driver_reconnects", "times the source was lost", labels=["driver"])
        updates = CounterMetricFamily("tag_updates", "readings taken from the source", labels=["driver"])
        bad = GaugeMetricFamily("tag_refused", "tags the source refuses", labels=["driver"])
        age = GaugeMetricFamily("tag_age_seconds", "age of the newest reading", labels=["driver"])
        for source in flow.sources.values():
            connected.add_metric([source.name], float(source.state == "connected"))
            reconnects.add_metric([source.name], source.reconnects)
            updates.add_metric([source.name], source.readings)
            bad.add_metric([source.name], len(source.health.bad_items))
            if source.newest:
                age.add_metric([source.name], max(0.0, (now - source.newest) / 1e9))
        judged = CounterMetricFamily("judgment_executions", "windows judged", labels=["work_unit"])
        for work_unit, pipeline in flow.pipelines.items():
            judged.add_metric([work_unit], pipeline.judged)
        shortened = CounterMetricFamily(
            "judgment_shortened", "verdicts too large to be recorded whole", labels=["work_unit"]
        )
        for work_unit, pipeline in flow.pipelines.items():
            shortened.add_metric([work_unit], pipeline.shortened)
        waiting = GaugeMetricFamily("judgment_waiting", "windows that wait for their model", labels=["work_unit"])
        asked = CounterMetricFamily("model_asked", "windows a model was asked about", labels=["work_unit", "model"])
        failed = CounterMetricFamily("model_failures", "by kind", labels=["work_unit", "model", "kind"])
        late = GaugeMetricFamily("model_p99_seconds", "of the last 1,000 answers", labels=["work_unit", "model"])
        breaker = GaugeMetricFamily("model_breaker_open", "1 while it is not asked", labels=["work_unit", "model"])
        for work_unit, pipeline in flow.pipelines.items():
            waiting.add_metric([work_unit], pipeline.waiting)
        for state in flow.scoring.states():
            which = [state.work_unit, state.model]
            asked.add_metric(which, state.asked)
            breaker.add_metric(which, float(state.breaker == "open"))
            for kind, count in state.failures.items():
                failed.add_metric([*which, kind], count)
            if state.p99_ms is not None:
                late.add_metric(which, state.p99_ms / 1e3)
        simple = [
            CounterMetricFamily("facts_produced", "records ever put on disk", value=counts.produced),
            GaugeMetricFamily("outbox_depth", "records the cloud has not confirmed", value=counts.waiting),
            GaugeMetricFamily("outbox_bytes", "bytes of chunks on disk", value=counts.waiting_bytes),
            GaugeMetricFamily(
                "store_commit_p99_seconds", "slowest of 100 recent commits", value=(counts.commit_p99_ms or 0.0) / 1e3
            ),
            GaugeMetricFamily("store_used_bytes", "of the quota", value=counts.used_bytes),
            GaugeMetricFamily("facts_lost", "records declared lost", value=counts.lost),
            GaugeMetricFamily(
                "cloud_connected",
                "1 while the cloud confirms",
                value=float(uplink is not None and uplink.state == "streaming"),
            ),
            GaugeMetricFamily(
                "disk_free_bytes", "free on the store's volume", value=shutil.disk_usage(flow.site.data).free
            ),
            CounterMetricFamily(
                "judgment_while_offline", "windows judged without the cloud", value=flow.judged_offline
            ),
        ]
        if counts.oldest_at is not None:
            simple.append(
                GaugeMetricFamily(
                    "outbox_oldest_age_seconds",
                    "age of the oldest unconfirmed record",
                    value=max(0.0, (now - counts.oldest_at) / 1e9),
                )
            )
        return [
            connected,
            reconnects,
            updates,
            bad,
            age,
            judged,
            shortened,
            waiting,
            asked,
            failed,
            late,
            breaker,
            *simple,
        ]


def notify_systemd(message: str) -> None:
    """Tell systemd READY=1, WATCHDOG=1 or STOPPING=1; nothing happens where it does not listen."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.connect("\0" + path[1:] if path.startswith("@") else path)
        channel.sendall(message.encode())
