"""FuelSDK for Python (suds), the vendor's own SDK, unmodified."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import FuelSDK
import pytest
from FuelSDK.rest import ET_Constructor, ET_Describe, ET_Get

from tests.conformance.conftest import ACCOUNT_ID, CLIENT_ID, CLIENT_SECRET, PET_KEY, PET_NAME, rows_of
from tests.support.simulator_probe import SimulatorProbe

Login = Callable[..., Any]


@pytest.fixture
def login(simulator: SimulatorProbe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Login:
    """``login(name=value)``: a client as its users configure it; it fetches the WSDL from the simulator."""
    # The SDK reads a configuration from the home folder, and writes a file into the current folder.
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def client(**parameters: str) -> Any:
        settings = {
            "clientid": CLIENT_ID,
            "clientsecret": CLIENT_SECRET,
            "accountId": ACCOUNT_ID,
            "useOAuth2Authentication": "True",
            "authenticationurl": simulator.url,
            "baseapiurl": simulator.url,
            "defaultwsdl": f"{simulator.url}/etframework.wsdl",
            "wsdl_file_local_loc": str(tmp_path / "ExactTargetWSDL.xml"),
        }
        return FuelSDK.ET_Client(False, False, settings | parameters)

    return client


@pytest.fixture
def sdk(login: Login) -> Any:
    """A client with a token of `/v2/token`."""
    return login()


def pets(sdk: Any, props: Any = None, **address: str) -> Any:
    """The rows of the pets, addressed by customer key by default."""
    rows = FuelSDK.ET_DataExtension_Row()
    rows.auth_stub, rows.props = sdk, props
    for name, value in (address or {"CustomerKey": PET_KEY}).items():
        setattr(rows, name, value)
    return rows


def where(column: str, operator: str, value: str | list[str]) -> dict[str, Any]:
    return {"Property": column, "SimpleOperator": operator, "Value": value}


def both(left: dict[str, Any], operator: str, right: dict[str, Any]) -> dict[str, Any]:
    return {"LeftOperand": left, "LogicalOperator": operator, "RightOperand": right}


def values(answer: Any) -> list[dict[str, str | None]]:
    """Rows of a Retrieve: column -> value."""
    return [{pair.Name: pair.Value for pair in result.Properties.Property} for result in answer.results]


def test_rows_are_created_updated_retrieved_and_deleted(sdk: Any, simulator: SimulatorProbe, consumer: str) -> None:
    key = {"ConsumerId": consumer, "PetId": "p1"}
    created = pets(sdk, key | {"Name": "Ann & <Bob> ]]> 🐈 مرحبا"}).post()
    assert (created.code, created.status, created.message) == (200, True, "OK")
    assert created.results[0].StatusMessage == "Created DataExtensionObject"

    updated = pets(sdk, key | {"Breed": "Manx"}).patch()
    assert (updated.status, updated.results[0].StatusMessage) == (True, "Updated DataExtensionObject")

    rows = pets(sdk, ["PetId", "Name", "Breed", "Species"])
    rows.search_filter = where("ConsumerId", "equals", consumer)
    found = rows.get()
    assert (found.status, found.message, found.more_results) == (True, "OK", False)
    assert values(found) == [{"PetId": "p1", "Name": "Ann & <Bob> ]]> 🐈 مرحبا", "Breed": "Manx", "Species": None}]
    # FuelSDK looks the name up and asks by it.
    assert found.results[0].Type == "DataExtensionObject"

    deleted = pets(sdk, key).delete()
    assert (deleted.status, deleted.results[0].StatusMessage) == (True, "Deleted DataExtensionObject")
    assert rows_of(simulator, PET_KEY, consumer) == []


def test_a_data_extension_is_addressed_by_key_or_by_name(sdk: Any, simulator: SimulatorProbe, consumer: str) -> None:
    assert pets(sdk, {"ConsumerId": consumer, "PetId": "p1"}, CustomerKey=PET_KEY).post().status
    assert pets(sdk, {"ConsumerId": consumer, "PetId": "p2"}, CustomerKey=PET_NAME).post().status
    assert [row["PetId"] for row in rows_of(simulator, PET_KEY, consumer)] == ["p1", "p2"]
    for address in ({"CustomerKey": PET_KEY}, {"Name": PET_NAME}):
        rows = pets(sdk, ["PetId"], **address)
        rows.search_filter = where("ConsumerId", "equals", consumer)
        assert [row["PetId"] for row in values(rows.get())] == ["p1", "p2"]


def test_an_upsert_inserts_and_updates(sdk: Any, simulator: SimulatorProbe, consumer: str) -> None:
    # FuelSDK's own patch() sends no options, so its users call the suds client below it.
    make = sdk.soap_client.factory.create
    for breed in ("Manx", "Korat"):
        options = make("UpdateOptions")
        saved = make("SaveOption")
        saved.PropertyName, saved.SaveAction = "*", "UpdateAdd"
        options.SaveOptions = {"SaveOption": [saved]}
        row = make("DataExtensionObject")
        row.CustomerKey = PET_KEY
        row.Keys = {"Key": [{"Name": "ConsumerId", "Value": consumer}, {"Name": "PetId", "Value": "p1"}]}
        row.Properties = {"Property": [{"Name": "Breed", "Value": breed}]}
        status, answer = sdk.soap_client.service.Update(options, [row])
        assert (status, answer.OverallStatus) == (200, "OK")
    assert rows_of(simulator, PET_KEY, consumer) == [{"ConsumerId": consumer, "PetId": "p1", "Breed": "Korat"}]


def test_a_batch_has_one_result_for_each_row(sdk: Any, simulator: SimulatorProbe, consumer: str) -> None:
    assert pets(sdk, {"ConsumerId": consumer, "PetId": "p2"}).post().status
    batch = pets(sdk, [{"ConsumerId": consumer, "PetId": pet} for pet in ("p1", "p2", "p3")]).post()
    assert (batch.code, batch.status, batch.message) == (200, False, "Has Errors")
    assert [(result.OrdinalID, result.StatusCode) for result in batch.results] == [(0, "OK"), (1, "Error"), (2, "OK")]
    assert batch.results[1].ErrorCode == 310003
    assert len(rows_of(simulator, PET_KEY, consumer)) == 3


def test_what_is_wrong_with_a_row_can_be_read(sdk: Any, consumer: str) -> None:
    answer = pets(sdk, {"ConsumerId": consumer, "PetId": "p1", "Wings": "2"}).post()
    assert (answer.status, answer.message) == (False, "Error")
    [error] = answer.results[0].ValueErrors.ValueError
    assert error.Name == "Wings"
    keyless = pets(sdk, {"ConsumerId": consumer}).delete()
    assert keyless.results[0].KeyErrors.KeyError[0].Name == "PetId"


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        (where("PetId", "notEquals", "p1"), ["p2", "p3", "p4"]),
        (where("PetId", "IN", ["p1", "p4"]), ["p1", "p4"]),
        (where("WeightKg", "greaterThan", "9"), ["p3", "p4"]),
        (where("WeightKg", "between", ["4", "10"]), ["p2", "p3"]),
        (where("Breed", "isNull", ""), ["p1", "p2", "p3"]),
        (both(where("PetId", "equals", "p1"), "OR", where("PetId", "equals", "p3")), ["p1", "p3"]),
        (both(where("PetId", "notEquals", "p1"), "AND", where("WeightKg", "lessThanOrEqual", "10")), ["p2", "p3"]),
    ],
    ids=["notEquals", "IN", "greaterThan", "between", "isNull", "OR", "AND"],
)
def test_filters(sdk: Any, condition: dict[str, Any], found: list[str]) -> None:
    consumer = "fuelsdk-filters"
    rows = pets(
        sdk,
        [
            {"ConsumerId": consumer, "PetId": f"p{number}", "WeightKg": weight, **more}
            for number, weight, more in ((1, "3.5", {}), (2, "5", {}), (3, "10", {}), (4, "30", {"Breed": "Manx"}))
        ],
    )
    rows.post()
    wanted = pets(sdk, ["ConsumerId", "PetId"])
    wanted.search_filter = condition
    answer = wanted.get()
    assert answer.status, answer.message
    assert [row["PetId"] for row in values(answer) if row["ConsumerId"] == consumer] == found


def test_pages_are_continued_with_an_empty_object_type(sdk: Any, consumer: str) -> None:
    pets(sdk, [{"ConsumerId": consumer, "PetId": f"p{number}"} for number in range(5)]).post()
    rows = pets(sdk)
    # With this suds the SDK itself cannot ask for small pages, but it continues them.
    make = sdk.soap_client.factory.create
    request, options, condition = make("RetrieveRequest"), make("RetrieveOptions"), make("SimpleFilterPart")
    condition.Property, condition.SimpleOperator, condition.Value = "ConsumerId", "equals", consumer
    options.BatchSize = 2
    request.ObjectType, request.Properties = f"DataExtensionObject[{PET_KEY}]", ["PetId"]
    request.Filter, request.Options = condition, options
    page = ET_Constructor(sdk.soap_client.service.Retrieve(request))
    pages, identifiers = [values(page)], [page.request_id]
    while page.more_results:
        rows.last_request_id = page.request_id
        page = rows.getMoreResults()
        pages.append(values(page))
        identifiers.append(page.request_id)
    assert [[row["PetId"] for row in rows] for rows in pages] == [["p0", "p1"], ["p2", "p3"], ["p4"]]
    assert len(set(identifiers)) == len(identifiers)
    rows.last_request_id = "00000000-0000-0000-0000-000000000000"
    unknown = rows.getMoreResults()
    assert (unknown.status, unknown.message) == (
        False,
        "Error: The RequestID sent through ContinueRequest does not exist.",
    )


def test_data_extensions_and_their_fields_are_found(sdk: Any) -> None:
    extensions = FuelSDK.ET_DataExtension()
    extensions.auth_stub, extensions.props = sdk, ["CustomerKey", "Name"]
    extensions.search_filter = where("Name", "equals", PET_NAME)
    assert [(found.CustomerKey, found.Name) for found in extensions.get().results] == [(PET_KEY, PET_NAME)]

    fields = FuelSDK.ET_DataExtension_Column()
    fields.auth_stub, fields.props = sdk, ["Name", "IsPrimaryKey", "FieldType", "DataExtension.CustomerKey"]
    fields.search_filter = where("DataExtension.CustomerKey", "equals", PET_KEY)
    found = fields.get().results
    assert [field.Name for field in found if field.IsPrimaryKey] == ["ConsumerId", "PetId"]
    assert {field.DataExtension.CustomerKey for field in found} == {PET_KEY}


@pytest.mark.parametrize("object_type", ["DataExtension", "DataExtensionField"])
def test_what_describe_names_can_be_retrieved(sdk: Any, object_type: str) -> None:
    [described] = ET_Describe(sdk, object_type).results
    assert described.ObjectType == object_type
    assert {"Name", "CustomerKey"} <= {prop.Name for prop in described.Properties}
    # Without properties the SDK first asks Describe for them, then retrieves all.
    everything = ET_Get(sdk, object_type)
    assert everything.status, everything.message
    assert everything.results[0].CustomerKey


def test_an_unknown_object_type_is_told_in_the_overall_status(sdk: Any) -> None:
    answer = ET_Get(sdk, "dataextension", ["Name"])
    assert (answer.code, answer.status) == (200, False)
    assert answer.message.startswith("Error: Unable to find a handler for object type: dataextension.")


def test_legacy_tokens_travel_beside_a_user_name_of_stars(login: Login, consumer: str) -> None:
    """The SDK asks /v1/requestToken, looks the SOAP address up, and sends oAuth and a UsernameToken `*`/`*`."""
    sdk = login(useOAuth2Authentication="False", authenticationurl=f"{login().auth_url}/v1/requestToken")
    assert "oAuthToken" in str(sdk.soap_client.options.soapheaders)
    assert pets(sdk, {"ConsumerId": consumer, "PetId": "p1"}).post().status
    # The SDK keeps a refresh token and uses it for the next request.
    sdk.refresh_token(force_refresh=True)
    assert pets(sdk, {"ConsumerId": consumer, "PetId": "p2"}).post().status


def test_wrong_credentials_are_refused_with_the_vendors_words(login: Login) -> None:
    with pytest.raises(Exception, match="invalid_client"):
        login(clientsecret="wrong")


@pytest.mark.parametrize(
    ("kind", "text"),
    [("rate_limited", "Rate Limited"), ("security_fault", "Token Expired"), ("server_fault", "Exception occurred")],
)
def test_faults_are_read(sdk: Any, simulator: SimulatorProbe, consumer: str, kind: str, text: str) -> None:
    rows = pets(sdk, {"ConsumerId": consumer, "PetId": "p1"})
    with simulator.fault(kind, consumerId=consumer):
        status, fault = sdk.soap_client.service.Create(None, [_row(sdk, consumer)])
    assert status == 500
    assert text in str(fault.faultstring)
    assert rows.post().status


def _row(sdk: Any, consumer: str) -> Any:
    make = sdk.soap_client.factory.create
    row = make("DataExtensionObject")
    row.CustomerKey = PET_KEY
    row.Properties = {"Property": [{"Name": "ConsumerId", "Value": consumer}, {"Name": "PetId", "Value": "p1"}]}
    return row


def test_a_token_that_was_refused_is_replaced(sdk: Any, simulator: SimulatorProbe, consumer: str) -> None:
    simulator.add_fault("expire_tokens")
    rows = pets(sdk, {"ConsumerId": consumer, "PetId": "p1"})
    refused = rows.post()
    assert (refused.code, refused.status) == (500, False)
    sdk.refresh_token(force_refresh=True)
    assert rows.post().status
