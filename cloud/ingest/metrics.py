"""What Prometheus sees of ingest."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

from cloud.ingest.items import Committed


class Metrics:
    """Counters of one process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.messages = Counter("triflow_ingest_messages", "MQTT messages received", registry=registry)
        self.foreign = Counter(
            "triflow_ingest_foreign_messages", "Messages that are none of ours", ["kind"], registry=registry
        )
        self.stale = Counter("triflow_ingest_stale_frames", "Frames of an earlier session", registry=registry)
        self.unanswered = Counter("triflow_ingest_unanswered", "Answers nobody took", registry=registry)
        self.full = Counter("triflow_ingest_full", "Messages of gateways that had too much waiting", registry=registry)
        self._corrected = Counter("triflow_ingest_corrected", "Records that came after all", registry=registry)
        self._findings = Counter("triflow_ingest_chain_findings", "Breaks found in chains", registry=registry)
        self._records = Counter("triflow_ingest_records", "Records committed", registry=registry)
        self._chunks = Counter("triflow_ingest_chunks", "Chunks by what became of them", ["outcome"], registry=registry)
        self._lost = Counter("triflow_ingest_losses", "Losses declared", registry=registry)
        self._seconds = Histogram("triflow_ingest_transaction_seconds", "Time of a transaction", registry=registry)

    def committed(self, done: Committed, seconds: float) -> None:
        """Count one transaction."""
        self._records.inc(done.records)
        outcomes = {
            "stored": done.chunks,
            "duplicate": done.duplicates,
            "early": done.early,
            "conflict": len(done.conflicts),
            "dead_letter": len(done.dead_letters),
        }
        for outcome, count in outcomes.items():
            self._chunks.labels(outcome).inc(count)
        self._lost.inc(len(done.lost))
        self._corrected.inc(done.corrected)
        self._findings.inc(len(done.findings))
        self._seconds.observe(seconds)
