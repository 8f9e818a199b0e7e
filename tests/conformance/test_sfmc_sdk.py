"""sfmc-sdk for Node, unmodified: Body before Header, no prefixes, unquoted SOAPAction, answers found by `soap:Body`.

Needs node, and the package in npm's cache: nothing is downloaded by a test.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.conftest import ACCOUNT_ID, CLIENT_ID, CLIENT_SECRET, PET_KEY, PET_NAME, rows_of
from tests.support.simulator_probe import SimulatorProbe

PACKAGE = "sfmc-sdk@2.1.2"
SECONDS = 60
UPSERT = {"options": {"SaveOptions": {"SaveOption": {"PropertyName": "*", "SaveAction": "UpdateAdd"}}}}

# ``calls(("create", "DataExtensionObject", {...}), ...)``: the result of each.
Calls = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command that makes calls with the SDK."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("needs node and npm")
    folder = tmp_path_factory.mktemp("sfmc-sdk")
    command = [npm, "install", "--offline", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder)]
    installed = subprocess.run([*command, PACKAGE], capture_output=True, text=True, timeout=SECONDS, check=False)
    if installed.returncode:
        pytest.skip(f"needs {PACKAGE} in npm's cache; `npm install --prefix /any/folder {PACKAGE}` puts it there")
    script = shutil.copy(Path(__file__).with_name("sfmc_sdk_calls.mjs"), folder)
    return [node, str(script)]


@pytest.fixture
def calls(program: list[str], simulator: SimulatorProbe) -> Calls:
    def make(*wanted: tuple[Any, ...], secret: str = CLIENT_SECRET) -> list[dict[str, Any]]:
        order = {
            "url": f"{simulator.url}/",
            "client_id": CLIENT_ID,
            "client_secret": secret,
            "account_id": ACCOUNT_ID,
            "calls": wanted,
        }
        done = subprocess.run(
            program, input=json.dumps(order), capture_output=True, text=True, timeout=SECONDS, check=False
        )
        assert done.returncode == 0, done.stderr
        return list(json.loads(done.stdout))

    return make


def row(data_extension: str, keys: dict[str, str] | None = None, **columns: str) -> dict[str, Any]:
    return {
        "CustomerKey": data_extension,
        **({"Properties": {"Property": _pairs(columns)}} if columns else {}),
        **({"Keys": {"Key": _pairs(keys)}} if keys else {}),
    }


def _pairs(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in values.items()]


def of_consumer(consumer: str, **request: Any) -> dict[str, Any]:
    condition = {"leftOperand": "ConsumerId", "operator": "equals", "rightOperand": consumer}
    return {"filter": condition, **request}


def values(outcome: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of a Retrieve: column -> value."""
    rows = []
    for result in outcome["answer"]["Results"]:
        pairs = result["Properties"]["Property"]
        # The SDK's reader makes a list of several elements only.
        rows.append({pair["Name"]: pair["Value"] for pair in (pairs if isinstance(pairs, list) else [pairs])})
    return rows


def test_rows_are_created_updated_upserted_retrieved_and_deleted(
    calls: Calls, simulator: SimulatorProbe, consumer: str
) -> None:
    first, second = ({"ConsumerId": consumer, "PetId": pet} for pet in ("one", "two"))
    kind = "DataExtensionObject"
    created, updated, upserted, found, deleted = calls(
        ("create", kind, row(PET_KEY, **first, Name="Ann & <Bob> ]]> 🐈 مرحبا")),
        ("update", kind, row(PET_KEY, **first, Breed="Manx")),
        ("update", kind, row(PET_KEY, second, Breed="Korat"), UPSERT),
        ("retrieve", f"{kind}[{PET_NAME}]", ["PetId", "Name", "Breed"], of_consumer(consumer)),
        ("delete", kind, row(PET_KEY, first)),
    )
    for outcome, message in ((created, "Created"), (updated, "Updated"), (upserted, "Updated"), (deleted, "Deleted")):
        assert outcome["answer"]["Results"][0]["StatusMessage"] == f"{message} DataExtensionObject"
    assert values(found) == [
        {"PetId": "one", "Name": "Ann & <Bob> ]]> 🐈 مرحبا", "Breed": "Manx"},
        {"PetId": "two", "Name": "", "Breed": "Korat"},
    ]
    assert rows_of(simulator, PET_KEY, consumer) == [second | {"Breed": "Korat"}]


def test_all_pages_are_fetched(calls: Calls, consumer: str) -> None:
    rows = [row(PET_KEY, ConsumerId=consumer, PetId=f"pet-{number}") for number in range(5)]
    created = [("create", "DataExtensionObject", one) for one in rows]
    small = of_consumer(consumer, options={"BatchSize": 2})
    *_, found = calls(*created, ("retrieveBulk", f"DataExtensionObject[{PET_KEY}]", ["PetId"], small))
    assert [pet["PetId"] for pet in values(found)] == [f"pet-{number}" for number in range(5)]


def test_complex_filters(calls: Calls, consumer: str) -> None:
    rows = [row(PET_KEY, ConsumerId=consumer, PetId=f"pet-{number}") for number in range(3)]
    pet = {"leftOperand": "PetId", "operator": "notEquals", "rightOperand": "pet-1"}
    both = {"filter": {"leftOperand": of_consumer(consumer)["filter"], "operator": "AND", "rightOperand": pet}}
    *_, found = calls(
        *(("create", "DataExtensionObject", one) for one in rows),
        ("retrieve", f"DataExtensionObject[{PET_KEY}]", ["PetId"], both),
    )
    assert [found_pet["PetId"] for found_pet in values(found)] == ["pet-0", "pet-2"]


def test_failed_rows_are_an_error_of_the_call(calls: Calls, consumer: str) -> None:
    pet = row(PET_KEY, ConsumerId=consumer, PetId="one")
    _, again = calls(("create", "DataExtensionObject", pet), ("create", "DataExtensionObject", pet))
    assert (again["status"], again["results"][0]["ErrorCode"]) == ("Error", 310003)


def test_data_extensions_are_described_and_found(calls: Calls) -> None:
    described, extensions, unknown = calls(
        ("describe", "DataExtension"),
        ("retrieve", "DataExtension", ["Name", "CustomerKey"]),
        ("retrieve", "DataExtensionFjeld", ["Name"]),
    )
    assert "CustomerKey" in {prop["Name"] for prop in described["answer"]["ObjectDefinition"]["Properties"]}
    assert (PET_KEY, PET_NAME) in {(one["CustomerKey"], one["Name"]) for one in extensions["answer"]["Results"]}
    assert unknown["status"].startswith("Error: Unable to find a handler for object type: DataExtensionFjeld.")


def test_an_expired_token_is_renewed_by_the_sdk(calls: Calls, simulator: SimulatorProbe, consumer: str) -> None:
    simulator.add_fault("expire_tokens", operation="Create", consumerId=consumer, times=1)
    [outcome] = calls(("create", "DataExtensionObject", row(PET_KEY, ConsumerId=consumer, PetId="one")))
    assert outcome["answer"]["OverallStatus"] == "OK"
    assert simulator.said(consumer) == [f"Create {PET_KEY} fault", f"Create {PET_KEY}"]


@pytest.mark.parametrize(
    ("after", "ended"),
    [(False, "OK"), (True, "Error")],
    ids=["before the write", "after the write"],
)
def test_a_reset_connection_is_tried_again_by_the_sdk(
    calls: Calls, simulator: SimulatorProbe, consumer: str, after: bool, ended: str
) -> None:
    """A Create whose answer was lost finds its own row at the second try, so it cannot be repeated blindly."""
    with simulator.fault("reset", consumerId=consumer, times=1, after=after):
        [outcome] = calls(("create", "DataExtensionObject", row(PET_KEY, ConsumerId=consumer, PetId="one")))
    assert (outcome.get("answer", {}).get("OverallStatus") or outcome["status"]) == ended
    assert [call.status for call in simulator.calls(consumer)] == ["dropped", "ok" if ended == "OK" else "error"]


@pytest.mark.parametrize(
    ("kind", "message"), [("rate_limited", "Rate Limited"), ("maintenance", "The system is in maintenance")]
)
def test_faults_are_read(calls: Calls, simulator: SimulatorProbe, consumer: str, kind: str, message: str) -> None:
    with simulator.fault(kind, consumerId=consumer):
        [outcome] = calls(("create", "DataExtensionObject", row(PET_KEY, ConsumerId=consumer, PetId="one")))
    assert outcome["error"].startswith(message)


def test_wrong_credentials_are_refused(calls: Calls) -> None:
    [outcome] = calls(("describe", "DataExtension"), secret="wrong")
    assert "Client authentication failed" in outcome["error"]
