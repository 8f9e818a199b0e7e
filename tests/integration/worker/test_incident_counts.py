"""Many dead letters of one kind and a few of another: one incident for each, with the true numbers."""

from __future__ import annotations

from tests.support.deployment import Deploy
from tests.support.profiles import delete_profile, fresh_consumer, fresh_market, new
from tests.support.worker_process import wait_for

MANY, FEW = 2_000, 10


def test_thousands_of_failures_of_one_kind_and_ten_of_another_are_two_incidents(deploy: Deploy) -> None:
    deployment = deploy(SERVICENOW_NOTE_EVERY_SECONDS="1")
    simulator, market = deployment.simulator, fresh_market()
    consumers = [fresh_consumer() for _ in range(MANY)]
    worker = deployment.worker().ready()
    with simulator.fault("row_error", dataExtension="CMT_Consumer"):
        deployment.publish(*(new(consumer, market) for consumer in consumers))
        deployment.publish(*(delete_profile(consumer, market) for consumer in consumers[:FEW]))
        assert deployment.market_counts(worker, market, MANY + FEW) == {"failed": MANY + FEW}

    def said() -> dict[str, str]:
        """The newest text of each incident, by its fingerprint."""
        texts = {}
        for incident in simulator.incidents():
            group, _, fingerprint = str(incident["correlation_id"]).partition(":")
            if group == deployment.pipeline.group:
                assert fingerprint not in texts, "one incident for each kind"
                texts[fingerprint] = [incident["description"], *incident["work_notes"]][-1]
        return texts

    def true() -> bool:
        many, few = said().get("CMT-ROW-INVALID:consumer:NEW", ""), said().get("CMT-ROW-INVALID:consumer:DELETE", "")
        return f"{MANY:,} dead letters" in many and f"{FEW} dead letters" in few

    wait_for(true, lambda: f"{said()}", 60)
    assert len(said()) == 2
