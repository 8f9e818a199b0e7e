"""zeep with the WSDL that the simulator serves, as users call it. Strict: answers must match the WSDL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests
from lxml import etree
from zeep import Client, Settings, Transport, xsd
from zeep.exceptions import Fault, TransportError
from zeep.plugins import HistoryPlugin
from zeep.wsse.username import UsernameToken

from tests.conformance.conftest import CLIENT_ID, CLIENT_SECRET, PET_KEY, PET_NAME, rows_of
from tests.support.simulator_probe import SimulatorProbe

PARTNER_API = "http://exacttarget.com/wsdl/partnerAPI"
FAULT_DETAIL_CODE = "{urn:fault.partner.exacttarget.com}apifault/{urn:fault.partner.exacttarget.com}Code"
# Namespaces of answers, as real ones have them.
NAMESPACES = {
    "soap": "http://schemas.xmlsoap.org/soap/envelope/",
    "wsa": "http://schemas.xmlsoap.org/ws/2004/08/addressing",
    "wsse": "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd",
    "wsu": "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd",
}
FUELOAUTH = "{http://exacttarget.com}fueloauth"
# As singer-io/tap-exacttarget declares it: the token ends up one element deeper.
NESTED = xsd.Element(FUELOAUTH, xsd.ComplexType([xsd.Element("_value_1", xsd.String())]))


class Account:
    """A zeep client, its token, and the last messages on the wire."""

    def __init__(self, url: str, wsse: Any = None) -> None:
        self.url = url
        self.wire = HistoryPlugin()
        self.client = Client(
            f"{url}/etframework.wsdl",
            wsse=wsse,
            transport=Transport(timeout=20, operation_timeout=20),
            settings=Settings(strict=True, xml_huge_tree=False),
            plugins=[self.wire],
        )
        self.headers: list[Any] = []

    def login(self) -> Account:
        credentials = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        answer = requests.post(f"{self.url}/v2/token", json=credentials, timeout=20)
        answer.raise_for_status()
        self.headers = [plain(answer.json()["access_token"])]
        return self

    def make(self, name: str, **values: Any) -> Any:
        return self.client.get_type(f"{{{PARTNER_API}}}{name}")(**values)

    def call(self, operation: str, **arguments: Any) -> Any:
        return getattr(self.client.service, operation)(_soapheaders=self.headers, **arguments)

    def row(self, data_extension: str, keys: dict[str, str] | None = None, **columns: str | None) -> Any:
        """A row; None is a null."""
        pairs = [
            self.make("NullAPIProperty", Name=name) if value is None else {"Name": name, "Value": value}
            for name, value in columns.items()
        ]
        key_pairs = [{"Name": name, "Value": value} for name, value in (keys or {}).items()]
        return self.make(
            "DataExtensionObject",
            CustomerKey=data_extension,
            Properties={"Property": pairs} if pairs else None,
            Keys={"Key": key_pairs} if key_pairs else None,
        )

    def create(self, *rows: Any) -> Any:
        return self.call("Create", Objects=list(rows))

    def update(self, *rows: Any) -> Any:
        return self.call("Update", Objects=list(rows))

    def upsert(self, *rows: Any) -> Any:
        save = {"SaveOption": [{"PropertyName": "DataExtensionObject", "SaveAction": "UpdateAdd"}]}
        return self.call("Update", Options=self.make("UpdateOptions", SaveOptions=save), Objects=list(rows))

    def delete(self, *rows: Any) -> Any:
        return self.call("Delete", Objects=list(rows))

    def where(self, column: str, operator: str, *values: str) -> Any:
        return self.make("SimpleFilterPart", Property=column, SimpleOperator=operator, Value=list(values))

    def retrieve(self, object_type: str, *columns: str, **request: Any) -> Any:
        return self.call(
            "Retrieve", RetrieveRequest={"ObjectType": object_type, "Properties": list(columns), **request}
        )

    def pets(self, consumer: str, *columns: str, **request: Any) -> list[dict[str, str | None]]:
        condition = self.where("ConsumerId", "equals", consumer)
        return values(self.retrieve(f"DataExtensionObject[{PET_KEY}]", *columns, Filter=condition, **request))


def plain(token: str) -> Any:
    """The header that most clients send."""
    header = etree.Element(FUELOAUTH)
    header.text = token
    return header


@pytest.fixture(scope="module")
def account(simulator: SimulatorProbe) -> Account:
    return Account(simulator.url).login()


def values(answer: Any) -> list[dict[str, str | None]]:
    """Rows of a Retrieve: column -> value."""
    return [{pair.Name: pair.Value for pair in result.Properties.Property} for result in answer.Results]


def statuses(answer: Any) -> list[tuple[int, str]]:
    return [(result.OrdinalID, result.StatusCode) for result in answer.Results]


def pet(consumer: str, number: int) -> dict[str, str]:
    return {"ConsumerId": consumer, "PetId": f"p{number}"}


# Tokens


@pytest.mark.parametrize("account_id", [None, 7654321, "7654321"])
@pytest.mark.parametrize("form", [False, True], ids=["json", "form"])
def test_tokens_for_json_and_forms(account: Account, form: bool, account_id: int | str | None) -> None:
    body = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    body |= {} if account_id is None else {"account_id": account_id}
    answer = requests.post(f"{account.url}/v2/token", timeout=20, **({"data": body} if form else {"json": body}))
    document = answer.json()
    assert (answer.status_code, document["token_type"]) == (200, "Bearer")
    assert document["soap_instance_url"] == document["rest_instance_url"] == f"{account.url}/"
    _accepted(account, document["access_token"])


@pytest.mark.parametrize("form", [False, True], ids=["json", "form"])
def test_legacy_tokens_for_json_and_forms(account: Account, form: bool) -> None:
    body = {"clientId": CLIENT_ID, "clientSecret": CLIENT_SECRET, "accessType": "offline"}
    how = {"data": body} if form else {"json": body}
    document = requests.post(f"{account.url}/v1/requestToken?legacy=1", timeout=20, **how).json()
    for name in ("accessToken", "legacyToken"):
        _accepted(account, document[name])


def _accepted(account: Account, token: str) -> None:
    request = {"ObjectType": "DataExtension", "Properties": ["Name"]}
    for header in (plain(token), NESTED(token)):
        answer = account.client.service.Retrieve(_soapheaders=[header], RetrieveRequest=request)
        assert answer.OverallStatus == "OK"


def test_a_user_name_and_password_replace_a_token(simulator: SimulatorProbe, consumer: str) -> None:
    account = Account(simulator.url, UsernameToken(CLIENT_ID, CLIENT_SECRET))
    assert account.create(account.row(PET_KEY, **pet(consumer, 1))).OverallStatus == "OK"
    with pytest.raises(Fault, match="Login failed"):
        wrong = Account(simulator.url, UsernameToken(CLIENT_ID, "wrong"))
        wrong.create(wrong.row(PET_KEY, **pet(consumer, 2)))
    assert len(rows_of(simulator, PET_KEY, consumer)) == 1


# Rows


def test_rows_are_created_updated_upserted_and_deleted(
    account: Account, simulator: SimulatorProbe, consumer: str
) -> None:
    first, second = pet(consumer, 1), pet(consumer, 2)
    assert account.create(account.row(PET_KEY, **first, Name="Ann & <Bob> ]]> 🐈 مرحبا")).OverallStatus == "OK"
    assert account.update(account.row(PET_KEY, first, Breed="Manx", Species="cat")).OverallStatus == "OK"
    missing = account.update(account.row(PET_KEY, second, Breed="Manx"))
    assert (missing.OverallStatus, missing.Results[0].ErrorCode) == ("Error", 310004)
    assert account.upsert(account.row(PET_KEY, second, Breed="Korat")).OverallStatus == "OK"
    # A null is a property of its own type.
    assert account.upsert(account.row(PET_KEY, first, Species=None)).OverallStatus == "OK"
    assert account.pets(consumer, "PetId", "Name", "Breed", "Species") == [
        {"PetId": "p1", "Name": "Ann & <Bob> ]]> 🐈 مرحبا", "Breed": "Manx", "Species": None},
        {"PetId": "p2", "Name": None, "Breed": "Korat", "Species": None},
    ]
    assert account.delete(account.row(PET_KEY, first)).OverallStatus == "OK"
    gone = account.delete(account.row(PET_KEY, first))
    assert (gone.OverallStatus, gone.Results[0].ErrorCode) == ("Error", 310002)
    assert rows_of(simulator, PET_KEY, consumer) == [{**second, "Breed": "Korat"}]


def test_a_batch_may_mix_data_extensions(account: Account, simulator: SimulatorProbe, consumer: str) -> None:
    rows = [
        account.row("CMT_Consumer", {"ConsumerId": consumer}, FirstName="Ann"),
        account.row(PET_KEY, pet(consumer, 1), Wings="2"),
        account.row(PET_KEY, pet(consumer, 2)),
        account.row("CMT_Contact", {"ConsumerId": consumer}, Type="EMAIL"),
        account.row("CMT_Nowhere", {"ConsumerId": consumer}),
    ]
    answer = account.upsert(*rows)
    assert answer.OverallStatus == "Has Errors"
    assert statuses(answer) == [(0, "OK"), (1, "Error"), (2, "OK"), (3, "Error"), (4, "Error")]
    _, wings, _, keyless, nowhere = answer.Results
    assert wings.ValueErrors.ValueError[0].Name == "Wings"
    assert (keyless.ErrorCode, keyless.KeyErrors.KeyError[0].Name) == (310001, "ContactId")
    assert nowhere.ErrorCode == 70003
    assert all(result.Object.CustomerKey for result in answer.Results)
    # Deletes of several data extensions go into one call, too.
    assert statuses(account.delete(rows[0], rows[2])) == [(0, "OK"), (1, "OK")]
    assert rows_of(simulator, PET_KEY, consumer) == rows_of(simulator, "CMT_Consumer", consumer) == []


def test_fifty_rows_in_a_call(account: Account, consumer: str) -> None:
    answer = account.create(*(account.row(PET_KEY, **pet(consumer, number)) for number in range(50)))
    assert answer.OverallStatus == "OK"
    assert statuses(answer) == [(number, "OK") for number in range(50)]


@pytest.mark.parametrize("address", [PET_KEY, PET_NAME])
def test_a_data_extension_is_addressed_by_key_or_by_name(account: Account, consumer: str, address: str) -> None:
    assert account.create(account.row(address, **pet(consumer, 1))).OverallStatus == "OK"
    found = account.retrieve(
        f"DataExtensionObject[{address}]", "PetId", Filter=account.where("ConsumerId", "equals", consumer)
    )
    assert values(found) == [{"PetId": "p1"}]


# Retrieves


def test_complex_filters_nest(account: Account, consumer: str) -> None:
    account.create(*(account.row(PET_KEY, **pet(consumer, number), WeightKg=str(number)) for number in range(6)))
    of_consumer = account.where("ConsumerId", "equals", consumer)
    either = account.make(
        "ComplexFilterPart",
        LeftOperand=account.where("PetId", "IN", "p0", "p1"),
        LogicalOperator="OR",
        RightOperand=account.where("WeightKg", "greaterThanOrEqual", "4"),
        AdditionalOperands={"Operand": [account.where("PetId", "endsWith", "2")]},
    )
    wanted = account.make("ComplexFilterPart", LeftOperand=of_consumer, LogicalOperator="AND", RightOperand=either)
    found = account.retrieve(f"DataExtensionObject[{PET_KEY}]", "PetId", Filter=wanted)
    assert [row["PetId"] for row in values(found)] == ["p0", "p1", "p2", "p4", "p5"]


def test_pages_of_2500_rows_are_continued(account: Account, consumer: str) -> None:
    rows = [account.row(PET_KEY, **pet(consumer, number)) for number in range(2501)]
    assert account.create(*rows).OverallStatus == "OK"
    request = {
        "ObjectType": f"DataExtensionObject[{PET_KEY}]",
        "Properties": ["PetId"],
        "Filter": account.where("ConsumerId", "equals", consumer),
    }
    first = account.call("Retrieve", RetrieveRequest=request)
    assert (first.OverallStatus, len(first.Results)) == ("MoreDataAvailable", 2500)
    # zeep users repeat the whole request.
    last = account.call("Retrieve", RetrieveRequest={**request, "ContinueRequest": first.RequestID})
    assert (last.OverallStatus, values(last)) == ("OK", [{"PetId": "p2500"}])
    assert last.RequestID != first.RequestID


def test_nothing_found_is_ok_without_results(account: Account, consumer: str) -> None:
    assert account.pets(consumer, "PetId") == []


@pytest.mark.parametrize(
    ("object_type", "columns", "text"),
    [
        ("DataExtensionObjekt", ["Name"], "Error: Unable to find a handler for object type: DataExtensionObjekt."),
        ("DataExtension", ["Nam"], "Error: The Request Property(s) Nam do not match with the fields of DataExtension"),
        ("DataExtensionObject[CMT_Nowhere]", ["Name"], "Error: Data extension does not exist: CMT_Nowhere"),
    ],
)
def test_mistakes_are_told_in_the_overall_status(
    account: Account, object_type: str, columns: list[str], text: str
) -> None:
    assert account.retrieve(object_type, *columns).OverallStatus.startswith(text)


def test_a_wildcard_finds_nothing_though_there_are_rows(account: Account, consumer: str) -> None:
    account.create(account.row(PET_KEY, **pet(consumer, 1)))
    assert account.pets(consumer, "*") == []


def test_data_extensions_and_their_fields_are_found(account: Account) -> None:
    by_key = account.where("CustomerKey", "equals", PET_KEY)
    [extension] = account.retrieve("DataExtension", "Name", "CustomerKey", "ObjectID", Filter=by_key).Results
    assert (extension.CustomerKey, extension.Name) == (PET_KEY, PET_NAME)
    of_pets = account.where("DataExtension.CustomerKey", "equals", PET_KEY)
    fields = account.retrieve(
        "DataExtensionField",
        "Name",
        "IsPrimaryKey",
        "Ordinal",
        "FieldType",
        "DataExtension.CustomerKey",
        Filter=of_pets,
    ).Results
    assert [field.Name for field in fields if field.IsPrimaryKey] == ["ConsumerId", "PetId"]
    assert [field.Ordinal for field in fields] == list(range(len(fields)))
    assert {field.DataExtension.CustomerKey for field in fields} == {PET_KEY}
    assert {field.Name: field.FieldType for field in fields if field.FieldType != "Text"} == {
        "BirthDate": "Date",
        "WeightKg": "Decimal",
    }


def test_several_types_are_described_in_one_call(account: Account) -> None:
    asked = {"ObjectDefinitionRequest": [{"ObjectType": name} for name in ("DataExtension", "DataExtensionField")]}
    answer = account.call("Describe", DescribeRequests=asked)
    assert [definition.ObjectType for definition in answer.ObjectDefinition] == ["DataExtension", "DataExtensionField"]
    for definition in answer.ObjectDefinition:
        names = [prop.Name for prop in definition.Properties if prop.IsRetrievable]
        found = account.retrieve(definition.ObjectType, *names)
        assert (found.OverallStatus, bool(found.Results)) == ("OK", True)


# Answers


@contextmanager
def last_answer(account: Account) -> Iterator[Callable[[str], list[Any]]]:
    """``find(xpath)`` in the envelope that was received last."""

    def find(path: str) -> list[Any]:
        return list(account.wire.last_received["envelope"].xpath(path, namespaces=NAMESPACES))

    yield find


def test_answers_carry_addressing_headers_and_a_timestamp(account: Account, consumer: str) -> None:
    with last_answer(account) as find:
        account.create(account.row(PET_KEY, **pet(consumer, 1)))
        header = "/soap:Envelope/soap:Header"
        assert [element.text for element in find(f"{header}/wsa:Action")] == ["CreateResponse"]
        assert [len(find(f"{header}/wsa:{name}")) for name in ("MessageID", "RelatesTo", "To")] == [1, 1, 1]
        [created] = find(f"{header}/wsse:Security/wsu:Timestamp/wsu:Created")
        [expires] = find(f"{header}/wsse:Security/wsu:Timestamp/wsu:Expires")
        assert created.text < expires.text
        account.retrieve("DataExtension", "Name")
        assert find(f"{header}/wsa:Action")[0].text == "RetrieveResponse"


@pytest.mark.parametrize(
    ("kind", "code", "text", "number"),
    [
        ("rate_limited", "soap:Server", "Rate Limited", "17"),
        ("server_fault", "soap:Server", "Exception occurred during [Create]", "2"),
        ("maintenance", "soap:Server", "maintenance", "9"),
        ("security_fault", "q0:Security", "Token Expired", None),
    ],
)
def test_faults_are_read(
    account: Account, simulator: SimulatorProbe, consumer: str, kind: str, code: str, text: str, number: str | None
) -> None:
    with simulator.fault(kind, consumerId=consumer), pytest.raises(Fault) as raised:
        account.create(account.row(PET_KEY, **pet(consumer, 1)))
    assert (raised.value.code, text in raised.value.message) == (code, True)
    detail = raised.value.detail
    assert (None if detail is None else detail.findtext(FAULT_DETAIL_CODE)) == number


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        # HTML that happens to be XML is a fault without a text to zeep.
        ("http_503", Fault),
        ("html_500", Fault),
        ("malformed_xml", TransportError),
        ("reset", requests.ConnectionError),
    ],
)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_broken_answers_raise_and_the_write_took_effect_or_not(
    account: Account, simulator: SimulatorProbe, consumer: str, kind: str, error: type[Exception], after: bool
) -> None:
    with simulator.fault(kind, consumerId=consumer, after=after), pytest.raises(error):
        account.create(account.row(PET_KEY, **pet(consumer, 1)))
    assert len(rows_of(simulator, PET_KEY, consumer)) == after


def test_row_errors_before_and_after_the_write(account: Account, simulator: SimulatorProbe, consumer: str) -> None:
    for number, after in ((1, False), (2, True)):
        with simulator.fault("row_error", consumerId=consumer, after=after):
            answer = account.create(account.row(PET_KEY, **pet(consumer, number), Name="Ann"))
        assert (answer.OverallStatus, answer.Results[0].ErrorCode) == ("Error", 310007)
        assert "'Ann'" in answer.Results[0].ValueErrors.ValueError[0].ErrorMessage
    assert [row["PetId"] for row in rows_of(simulator, PET_KEY, consumer)] == ["p2"]
