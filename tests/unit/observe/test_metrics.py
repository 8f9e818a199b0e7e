"""Metrics: names and labels as promised, and no more series than a monitoring can bear."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from app.observe.metrics import MARKETS_SHOWN, Gauges, Metrics

PROMISED = {
    "profile_sync_events_settled_total": {"outcome", "market"},
    "profile_sync_cmt_calls_total": {"operation", "entity", "result"},
    "profile_sync_cmt_call_duration_seconds_count": set(),
    "profile_sync_event_duration_seconds_count": set(),
    "profile_sync_parked_consumers": set(),
    "profile_sync_oldest_parked_seconds": set(),
    "profile_sync_in_flight": set(),
    "profile_sync_consumer_lag": {"partition"},
    "profile_sync_breaker_open": {"account"},
    "profile_sync_dead_letters_open": {"reason"},
    "profile_sync_token_refreshes_total": {"result"},
    "profile_sync_incidents_total": {"result"},
    "profile_sync_commit_stall_seconds": set(),
    "profile_sync_cmt_calls_allowed": {"account"},
    "profile_sync_account_calls_total": {"account", "result"},
    "profile_sync_account_token_refreshes_total": {"account", "result"},
}


def _samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(metrics.render().decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def test_every_promised_metric_is_there_with_its_labels() -> None:
    metrics = Metrics()
    metrics.event_settled("synced", "DE", 0.2)
    metrics.call("Update", "consumer", "ok", 0.01, "default")
    metrics.token("ok", "default")
    metrics.incident("created")
    metrics.watch(
        Gauges(
            consumer_lag=lambda: {0: 5},
            breaker_open=lambda: {"default": 1},
            calls_allowed=lambda: {"default": 64},
            dead_letters_open=lambda: {"CMT-TIMEOUT": 2},
        )
    )
    seen: dict[str, set[str]] = {}
    for name, labels in _samples(metrics):
        seen.setdefault(name, set()).update(label for label, _ in labels)
    assert {name: seen.get(name) for name in PROMISED} == PROMISED


def test_gauges_ask_when_they_are_read() -> None:
    metrics, working = Metrics(), [3.0]
    metrics.watch(Gauges(in_flight=lambda: working[0], consumer_lag=lambda: {1: 7, 0: 2}))
    assert _samples(metrics)["profile_sync_in_flight", ()] == 3
    working[0] = 4.0
    samples = _samples(metrics)
    assert samples["profile_sync_in_flight", ()] == 4
    assert samples["profile_sync_consumer_lag", (("partition", "1"),)] == 7


def test_markets_beyond_the_limit_fold_into_other() -> None:
    metrics = Metrics()
    for number in range(MARKETS_SHOWN + 10):
        metrics.event_settled("synced", f"M{number}")
    metrics.event_settled("synced", "M0")
    samples = _samples(metrics)
    name = "profile_sync_events_settled_total"
    assert samples[name, (("market", "other"), ("outcome", "synced"))] == 10
    assert samples[name, (("market", "M0"), ("outcome", "synced"))] == 2
    assert sum(1 for key, _ in samples if key == name) == MARKETS_SHOWN + 1


def test_two_workers_of_a_test_do_not_share_their_metrics() -> None:
    one, other = Metrics(), Metrics()
    one.token("ok", "default")
    assert ("profile_sync_token_refreshes_total", (("result", "ok"),)) not in _samples(other)
