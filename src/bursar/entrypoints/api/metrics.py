"""Figures of this process for Prometheus. Labels are route patterns, never ids or addresses."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """A registry of its own, so that several apps can live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "bursar_http_requests_total",
            "Requests answered.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "bursar_http_request_seconds",
            "Time from a request's head to the end of its answer.",
            ["route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.webhooks = Counter(
            "bursar_webhooks_total",
            "Webhooks by outcome: stored, refused (not authentic) or unavailable.",
            ["provider", "outcome"],
            registry=self.registry,
        )

    def render(self) -> bytes:
        """The figures in Prometheus' text format."""
        return generate_latest(self.registry)
