"""Retrieve: filters, explicit properties, paging, and what the real endpoint answers to mistakes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from app.simulator.retrieves import PAGE_ROWS
from app.simulator.store import StoredRow
from tests.support.simulator_wire import PARTNER_API, XSI_TYPE, Wire, row, running, where

CONTACTS = "DataExtensionObject[CMT_Contact]"


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with running() as wire:
        yield wire


async def contacts(wire: Wire, consumer: str, count: int) -> None:
    for first in range(0, count, 500):
        numbers = range(first, min(count, first + 500))
        answer = await wire.upsert(
            *(row("CMT_Contact", ConsumerId=consumer, ContactId=f"k{n}", Type="email", Value=f"v{n}") for n in numbers)
        )
        assert answer.one("OverallStatus") == "OK"


async def test_rows_come_with_their_type_and_the_properties_asked_for(wire: Wire) -> None:
    await contacts(wire, "c1", 2)
    await contacts(wire, "c2", 1)
    answer = await wire.retrieve(CONTACTS, "ContactId", "Value", "IsPrimary", more=where("ConsumerId", "equals", "c1"))
    assert answer.one("OverallStatus") == "OK"
    assert {result.get(XSI_TYPE) for result in answer.elements("Results")} == {"DataExtensionObject"}
    assert answer.rows() == [
        {"ContactId": "k0", "Value": "v0", "IsPrimary": ""},
        {"ContactId": "k1", "Value": "v1", "IsPrimary": ""},
    ]
    # OverallStatus and RequestID come before Results, unlike in the answers to writes.
    names = [child.tag.rpartition("}")[2] for child in answer.elements("RetrieveResponseMsg")[0]]
    assert names == ["OverallStatus", "RequestID", "Results", "Results"]


async def test_nothing_found_is_ok_without_results(wire: Wire) -> None:
    answer = await wire.retrieve(CONTACTS, "ContactId", more=where("ConsumerId", "equals", "nobody"))
    assert (answer.one("OverallStatus"), answer.elements("Results")) == ("OK", [])


async def test_a_wildcard_is_ok_without_rows_though_there_are_some(wire: Wire) -> None:
    await contacts(wire, "c1", 1)
    answer = await wire.retrieve(CONTACTS, "*", more=where("ConsumerId", "equals", "c1"))
    assert (answer.one("OverallStatus"), answer.elements("Results")) == ("OK", [])


async def test_complex_filters_nest(wire: Wire) -> None:
    await contacts(wire, "c1", 4)
    either = (
        '<RightOperand xsi:type="ComplexFilterPart">'
        + where("Value", "equals", "v1", element="LeftOperand")
        + "<LogicalOperator>OR</LogicalOperator>"
        + where("ContactId", "IN", "k2", "k9", element="RightOperand")
        + "<AdditionalOperands>"
        + where("ContactId", "equals", "k0", element="Operand")
        + "</AdditionalOperands></RightOperand>"
    )
    more = (
        '<Filter xsi:type="ComplexFilterPart">'
        + where("ConsumerId", "equals", "c1", element="LeftOperand")
        + f"<LogicalOperator>AND</LogicalOperator>{either}</Filter>"
    )
    answer = await wire.retrieve(CONTACTS, "ContactId", more=more)
    assert [found["ContactId"] for found in answer.rows()] == ["k0", "k1", "k2"]


async def test_pages_follow_each_other_with_new_request_ids(wire: Wire) -> None:
    await contacts(wire, "c1", 5)
    options = "<Options><BatchSize>2</BatchSize></Options>"
    answer = await wire.retrieve(CONTACTS, "ContactId", more=where("ConsumerId", "equals", "c1") + options)
    found = answer.rows()
    identifiers = [answer.one("RequestID")]
    while answer.one("OverallStatus") == "MoreDataAvailable":
        # FuelSDK-Python sends an empty ObjectType and nothing else here.
        answer = await wire.retrieve("", more=f"<ContinueRequest>{identifiers[-1]}</ContinueRequest>")
        found += answer.rows()
        identifiers.append(answer.one("RequestID"))
    assert answer.one("OverallStatus") == "OK"
    assert [contact["ContactId"] for contact in found] == ["k0", "k1", "k2", "k3", "k4"]
    assert len(set(identifiers)) == len(identifiers) == 3


async def test_a_page_holds_2500_rows_at_most(wire: Wire) -> None:
    await contacts(wire, "c1", PAGE_ROWS + 1)
    greedy = "<Options><BatchSize>9999</BatchSize></Options>"
    answer = await wire.retrieve(CONTACTS, "ContactId", more=where("ConsumerId", "equals", "c1") + greedy)
    assert (answer.one("OverallStatus"), len(answer.rows())) == ("MoreDataAvailable", 2500)
    # sfmc-sdk and zeep repeat everything in the request for the next page.
    repeated = where("ConsumerId", "equals", "c1")
    more = f"{repeated}<ContinueRequest>{answer.one('RequestID')}</ContinueRequest>"
    last = await wire.retrieve(CONTACTS, "ContactId", more=more)
    assert (last.one("OverallStatus"), len(last.rows())) == ("OK", 1)


async def test_later_writes_do_not_change_the_pages_of_a_retrieve(wire: Wire) -> None:
    await contacts(wire, "c1", 2)
    options = "<Options><BatchSize>1</BatchSize></Options>"
    first = await wire.retrieve(CONTACTS, "ContactId", "Value", more=where("ConsumerId", "equals", "c1") + options)
    await wire.upsert(row("CMT_Contact", ConsumerId="c1", ContactId="k1", Value="changed"))
    second = await wire.retrieve("", more=f"<ContinueRequest>{first.one('RequestID')}</ContinueRequest>")
    assert second.rows() == [{"ContactId": "k1", "Value": "v1"}]


async def test_an_unknown_request_to_continue_is_an_error(wire: Wire) -> None:
    answer = await wire.retrieve("", more="<ContinueRequest>nothing</ContinueRequest>")
    assert answer.status == 200
    assert answer.one("OverallStatus") == "Error: The RequestID sent through ContinueRequest does not exist."


@pytest.mark.parametrize(
    ("object_type", "properties", "more", "status"),
    [
        (
            "DeliveryProfile",
            ["Name"],
            "",
            "Error: Unable to find a handler for object type: DeliveryProfile. "
            "Object types are case-sensitive, check spelling.",
        ),
        (
            CONTACTS,
            ["ContactId", "Nope"],
            "",
            "Error: The Request Property(s) Nope do not match with the fields of DataExtensionObject retrieve",
        ),
        (CONTACTS, ["ContactId"], where("Nope", "equals", "1"), "Error: Invalid column name 'Nope'."),
        (
            CONTACTS,
            ["ContactId"],
            where("ConsumerId", "equals", "1").replace(' xsi:type="SimpleFilterPart"', ""),
            "Error: Unknown filter of type FilterPart encountered",
        ),
        (
            CONTACTS,
            ["ContactId"],
            where("ConsumerId", "like", "c%"),
            "Error: The operator 'like' is not supported for this object type.",
        ),
        (
            "DataExtensionObject[CMT_Nothing]",
            ["ContactId"],
            "",
            "Error: Data extension does not exist: CMT_Nothing",
        ),
        (
            CONTACTS,
            [],
            "",
            "Error: The Request holds no Properties: name the fields of DataExtensionObject to retrieve",
        ),
    ],
)
async def test_mistakes_are_told_in_the_overall_status(
    wire: Wire, object_type: str, properties: list[str], more: str, status: str
) -> None:
    answer = await wire.retrieve(object_type, *properties, more=more)
    assert (answer.status, answer.one("OverallStatus"), answer.elements("Results")) == (200, status, [])
    assert (await wire.calls())[-1]["status"] == "error"


async def test_data_extensions_and_their_fields_can_be_looked_up(wire: Wire) -> None:
    found = await wire.retrieve(
        "DataExtension", "Name", "CustomerKey", more=where("CustomerKey", "equals", "CMT_Contact")
    )
    (extension,) = found.elements("Results")
    assert extension.get(XSI_TYPE) == "DataExtension"
    assert (extension.findtext("{*}CustomerKey"), extension.findtext("{*}Name")) == ("CMT_Contact", "CMT_Contact")

    fields = await wire.retrieve(
        "DataExtensionField", "Name", "IsPrimaryKey", more=where("DataExtension.CustomerKey", "equals", "CMT_Contact")
    )
    keys = [
        field.findtext("{*}Name") for field in fields.elements("Results") if field.findtext("{*}IsPrimaryKey") == "true"
    ]
    assert keys == ["ConsumerId", "ContactId"]
    assert fields.texts("Name") == ["ConsumerId", "ContactId", "Type", "Value", "IsPrimary"]


async def test_the_journal_knows_the_consumer_of_a_retrieve_and_of_its_pages(wire: Wire) -> None:
    await contacts(wire, "c1", 2)
    options = "<Options><BatchSize>1</BatchSize></Options>"
    first = await wire.retrieve(CONTACTS, "ContactId", more=where("ConsumerId", "equals", "c1") + options)
    await wire.retrieve("", more=f"<ContinueRequest>{first.one('RequestID')}</ContinueRequest>")
    retrieves = [call for call in await wire.calls(consumer="c1") if call["operation"] == "Retrieve"]
    assert [call["dataExtension"] for call in retrieves] == ["CMT_Contact", "CMT_Contact"]


async def test_a_consumer_is_found_without_looking_at_all_rows(wire: Wire) -> None:
    """200,000 rows of other consumers: a scan takes tens of milliseconds, the index hardly any time."""
    table = wire.simulator.store.table("CMT_Contact")
    assert table is not None
    for number in range(200_000):
        row = {"ConsumerId": f"other{number}", "ContactId": "k"}
        table.put((f"other{number}", "k"), StoredRow(row, row))
    await contacts(wire, "c1", 1)
    asked = where("ConsumerId", "equals", "c1")

    async def fastest(more: str) -> float:
        """The seconds of the fastest of ten calls, so that the load of the machine does not matter."""
        taken = []
        for _ in range(10):
            started = time.perf_counter()
            assert len((await wire.retrieve(CONTACTS, "ContactId", more=more)).rows()) == 1
            taken.append(time.perf_counter() - started)
        return min(taken)

    assert await fastest(asked) < await fastest(where("Value", "equals", "v0")) / 3


async def test_a_key_in_any_namespace_prefix_is_read(wire: Wire) -> None:
    await contacts(wire, "c1", 1)
    payload = (
        f'<p:RetrieveRequestMsg xmlns:p="{PARTNER_API}"><p:RetrieveRequest><p:ObjectType>{CONTACTS}</p:ObjectType>'
        '<p:Properties>ContactId</p:Properties><p:Filter xsi:type="p:SimpleFilterPart"><p:Property>ConsumerId'
        "</p:Property><p:SimpleOperator>equals</p:SimpleOperator><p:Value>c1</p:Value></p:Filter>"
        "</p:RetrieveRequest></p:RetrieveRequestMsg>"
    )
    assert (await wire.soap(payload, '"Retrieve"')).rows() == [{"ContactId": "k0"}]
