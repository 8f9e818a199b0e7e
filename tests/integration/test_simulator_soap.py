"""SOAP writes as public clients send them, and details on the wire that these clients depend on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.simulator_wire import (
    NODE_ENVELOPE,
    PARTNER_API,
    SOAP_11,
    SOAP_12,
    WSSE,
    XSI_TYPE,
    Wire,
    row,
    running,
)

CONSUMER = row("CMT_Consumer", ConsumerId="c1", FirstName="Ann & <Bob>")


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with running() as wire:
        yield wire


# Wire points


async def test_answers_have_the_literal_prefix_soap_and_an_unprefixed_payload(wire: Wire) -> None:
    answer = await wire.create(CONSUMER)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/xml; charset=utf-8"
    assert f'<soap:Envelope xmlns:soap="{SOAP_11}"' in answer.text
    assert f'<soap:Body><CreateResponse xmlns="{PARTNER_API}">' in answer.text


async def test_answers_carry_addressing_headers_and_a_security_timestamp(wire: Wire) -> None:
    answer = await wire.create(CONSUMER)
    assert answer.one("Action") == "CreateResponse"
    assert answer.one("MessageID").startswith("urn:uuid:")
    assert answer.one("To").endswith("/role/anonymous")
    assert answer.one("Created") < answer.one("Expires")
    assert answer.root.find(f".//{{{WSSE}}}Security") is not None


async def test_an_answer_relates_to_the_message_id_of_its_request(wire: Wire) -> None:
    header = '<a:MessageID xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing">urn:uuid:mine</a:MessageID>'
    envelope = NODE_ENVELOPE.replace("</Header>", f"{header}</Header>")
    answer = await wire.soap(f'<CreateRequest xmlns="{PARTNER_API}">{CONSUMER}</CreateRequest>', envelope=envelope)
    assert answer.one("RelatesTo") == "urn:uuid:mine"


async def test_no_two_answers_share_an_identifier(wire: Wire) -> None:
    answers = [await wire.upsert(CONSUMER) for _ in range(3)]
    identifiers = [text for answer in answers for name in ("MessageID", "RequestID") for text in answer.texts(name)]
    assert len(set(identifiers)) == 6


@pytest.mark.parametrize("path", ["/Service.asmx", "/service.asmx", "/SERVICE.ASMX"])
async def test_the_path_is_found_in_any_case(wire: Wire, path: str) -> None:
    payload = f'<CreateRequest xmlns="{PARTNER_API}">{CONSUMER}</CreateRequest>'
    assert (await wire.soap(payload, "Create", path=path)).one("OverallStatus") == "OK"


async def test_a_path_with_two_slashes_is_not_found(wire: Wire) -> None:
    async with wire.session.post(f"{wire.simulator.url}//Service.asmx", data=b"<x/>") as response:
        assert response.status == 404


@pytest.mark.parametrize("action", ["Create", '"Create"', None])
async def test_soap_action_may_be_quoted_unquoted_or_absent(wire: Wire, action: str | None) -> None:
    payload = f'<CreateRequest xmlns="{PARTNER_API}">{CONSUMER}</CreateRequest>'
    assert (await wire.soap(payload, action)).one("OverallStatus") == "OK"


async def test_an_unknown_soap_action_is_a_client_fault(wire: Wire) -> None:
    answer = await wire.soap(f'<CreateRequest xmlns="{PARTNER_API}">{CONSUMER}</CreateRequest>', '"Creat"')
    assert (answer.status, answer.one("faultcode")) == (500, "soap:Client")
    assert answer.one("faultstring") == "Server did not recognize the value of HTTP Header SOAPAction: Creat."


async def test_an_operation_that_is_not_simulated_says_so(wire: Wire) -> None:
    answer = await wire.soap(f'<PerformRequestMsg xmlns="{PARTNER_API}"/>', "Perform")
    assert answer.status == 500
    assert "PerformRequestMsg is not simulated" in answer.one("faultstring")


async def test_every_result_of_a_write_names_its_types(wire: Wire) -> None:
    for answer, operation in ((await wire.create(CONSUMER), "Create"), (await wire.upsert(CONSUMER), "Update")):
        assert answer.elements("Results")[0].get(XSI_TYPE) == f"DataExtension{operation}Result"
        assert answer.elements("Object")[0].get(XSI_TYPE) == "DataExtensionObject"


@pytest.mark.parametrize(
    "header",
    [
        '<fueloauth xmlns="http://exacttarget.com">{token}</fueloauth>',
        '<e:fueloauth xmlns:e="http://exacttarget.com">{token}</e:fueloauth>',
        '<fueloauth xmlns="">{token}</fueloauth>',
        '<n:fueloauth xmlns:n="http://exacttarget.com"><_value_1>{token}</_value_1></n:fueloauth>',
        '<e:oAuth xmlns:e="http://exacttarget.com"><e:oAuthToken>{token}</e:oAuthToken></e:oAuth>',
    ],
)
async def test_the_token_is_found_by_its_local_name(wire: Wire, header: str) -> None:
    envelope = (
        f'<s:Envelope xmlns:s="{SOAP_11}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f"<s:Header>{header}</s:Header><s:Body>{{payload}}</s:Body></s:Envelope>"
    )
    payload = f'<CreateRequest xmlns="{PARTNER_API}">{CONSUMER}</CreateRequest>'
    assert (await wire.soap(payload, "Create", envelope=envelope)).one("OverallStatus") == "OK"


@pytest.mark.parametrize("password", ["simulator-secret", "wrong"])
async def test_a_user_name_token_replaces_a_token(wire: Wire, password: str) -> None:
    security = (
        f'<w:Security xmlns:w="{WSSE}"><w:UsernameToken><w:Username>simulator</w:Username>'
        f"<w:Password>{password}</w:Password></w:UsernameToken></w:Security>"
    )
    # Body before Header here, too.
    envelope = (
        f'<s:Envelope xmlns:s="{SOAP_11}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f"<s:Body>{{payload}}</s:Body><s:Header>{security}</s:Header></s:Envelope>"
    )
    payload = f'<CreateRequest xmlns="{PARTNER_API}">{CONSUMER}</CreateRequest>'
    answer = await wire.soap(payload, "Create", envelope=envelope)
    if password == "wrong":
        assert (answer.status, answer.one("faultstring")) == (500, "Login failed")
    else:
        assert answer.one("OverallStatus") == "OK"


async def test_describe_names_the_properties_of_object_types(wire: Wire) -> None:
    asked = "".join(
        f"<ObjectDefinitionRequest><ObjectType>{name}</ObjectType></ObjectDefinitionRequest>"
        for name in ("DataExtension", "Subscriber")
    )
    payload = (
        f'<DefinitionRequestMsg xmlns="{PARTNER_API}"><DescribeRequests>{asked}</DescribeRequests>'
        "</DefinitionRequestMsg>"
    )
    answer = await wire.soap(payload, "Describe")
    assert answer.one("Action") == "DescribeResponse"
    extension, subscriber = answer.elements("ObjectDefinition")
    names = [prop.findtext("{*}Name") for prop in extension.iter("{*}Properties")]
    assert {"CustomerKey", "Name", "IsSendable"} <= set(names)
    # Other operations are known by name only.
    assert (subscriber.findtext("{*}ObjectType"), subscriber.findall("{*}Properties")) == ("Subscriber", [])
    [call] = await wire.calls()
    assert (call["operation"], call["dataExtension"], call["status"]) == ("Describe", None, "ok")


async def test_prefixes_as_suds_writes_them(wire: Wire) -> None:
    envelope = (
        f'<SOAP-ENV:Envelope xmlns:SOAP-ENV="{SOAP_11}" xmlns:ns0="{SOAP_11}" xmlns:ns1="{PARTNER_API}" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:etns="http://exacttarget.com"><SOAP-ENV:Header>'
        "<etns:fueloauth>{token}</etns:fueloauth></SOAP-ENV:Header><ns0:Body>{payload}</ns0:Body></SOAP-ENV:Envelope>"
    )
    payload = (
        "<ns1:UpdateRequest><ns1:Options><ns1:SaveOptions><ns1:SaveOption><ns1:PropertyName>DataExtensionObject"
        "</ns1:PropertyName><ns1:SaveAction>UpdateAdd</ns1:SaveAction></ns1:SaveOption></ns1:SaveOptions></ns1:Options>"
        '<ns1:Objects xsi:type="ns1:DataExtensionObject"><ns1:CustomerKey>CMT_Consumer</ns1:CustomerKey>'
        "<ns1:Properties><ns1:Property><ns1:Name>FirstName</ns1:Name><ns1:Value>Ann</ns1:Value></ns1:Property>"
        "</ns1:Properties><ns1:Keys><ns1:Key><ns1:Name>ConsumerId</ns1:Name><ns1:Value>c1</ns1:Value></ns1:Key>"
        "</ns1:Keys></ns1:Objects></ns1:UpdateRequest>"
    )
    answer = await wire.soap(payload, '"Update"', path="/service.asmx", envelope=envelope)
    assert answer.one("StatusMessage") == "Updated DataExtensionObject"
    assert await wire.rows("CMT_Consumer") == [{"ConsumerId": "c1", "FirstName": "Ann"}]


async def test_a_soap_12_request_gets_a_soap_12_answer(wire: Wire) -> None:
    envelope = NODE_ENVELOPE.replace(SOAP_11, SOAP_12)
    payload = f'<CreateRequest xmlns="{PARTNER_API}">{CONSUMER}</CreateRequest>'
    answer = await wire.soap(payload, envelope=envelope, headers={"Content-Type": "application/soap+xml"})
    assert answer.one("OverallStatus") == "OK"
    assert answer.headers["Content-Type"] == "application/soap+xml; charset=utf-8"
    assert f'<soap:Envelope xmlns:soap="{SOAP_12}"' in answer.text

    await wire.fault("rate_limited")
    fault = await wire.soap(payload, envelope=envelope)
    assert (fault.status, fault.texts("Value")) == (500, ["soap:Receiver"])
    assert fault.one("Text") == "Rate Limited"
    assert fault.root.find(".//{urn:fault.partner.exacttarget.com}Code").text == "17"


async def test_a_body_that_is_not_xml_is_a_plain_bad_request(wire: Wire) -> None:
    answer = await wire.soap("<unclosed>", "Create")
    assert (answer.status, answer.text) == (400, "Bad Request")


async def test_a_document_type_is_refused_so_that_no_entity_is_ever_expanded(wire: Wire) -> None:
    envelope = '<!DOCTYPE Envelope [<!ENTITY secret SYSTEM "file:///etc/hostname">]>' + NODE_ENVELOPE
    payload = f'<CreateRequest xmlns="{PARTNER_API}">{CONSUMER}</CreateRequest>'.replace("Ann", "&secret;")
    answer = await wire.soap(payload, "Create", envelope=envelope)
    assert (answer.status, answer.one("faultcode")) == (500, "soap:Client")
    assert await wire.rows("CMT_Consumer") == []


@pytest.mark.parametrize("token", ["", "no-such-token"])
async def test_without_a_token_of_ours_login_fails(wire: Wire, token: str) -> None:
    wire.token = token
    answer = await wire.create(CONSUMER)
    assert answer.status == 500
    assert (answer.one("faultcode"), answer.one("faultstring")) == ("q0:Security", "Login failed")
    assert f'<faultcode xmlns:q0="{WSSE}">' in answer.text
    assert await wire.rows("CMT_Consumer") == []


# Writes


async def test_create_refuses_a_row_that_exists(wire: Wire) -> None:
    assert (await wire.create(CONSUMER)).one("StatusMessage") == "Created DataExtensionObject"
    again = await wire.create(CONSUMER)
    assert (again.status, again.one("OverallStatus"), again.one("ErrorCode")) == (200, "Error", "310003")


async def test_update_without_save_options_refuses_a_row_that_is_missing(wire: Wire) -> None:
    missing = await wire.update(CONSUMER)
    assert (missing.one("OverallStatus"), missing.one("ErrorCode")) == ("Error", "310004")
    assert await wire.rows("CMT_Consumer") == []


async def test_an_upsert_inserts_and_then_updates_only_what_it_names(wire: Wire) -> None:
    await wire.upsert(row("CMT_Consumer", ConsumerId="c1", FirstName="Ann", Country="DE"))
    await wire.upsert(row("CMT_Consumer", keys={"ConsumerId": "c1"}, FirstName="Anna"))
    assert await wire.rows("CMT_Consumer") == [{"ConsumerId": "c1", "FirstName": "Anna", "Country": "DE"}]


async def test_a_null_property_writes_a_null_and_an_empty_value_an_empty_text(wire: Wire) -> None:
    await wire.upsert(row("CMT_Consumer", ConsumerId="c1", FirstName=None, LastName=""))
    assert await wire.rows("CMT_Consumer") == [{"ConsumerId": "c1", "FirstName": None, "LastName": ""}]


async def test_column_names_are_found_without_regard_to_case(wire: Wire) -> None:
    await wire.upsert(row("CMT_Consumer", consumerid="c1", FIRSTNAME="Ann"))
    assert await wire.rows("CMT_Consumer") == [{"ConsumerId": "c1", "FirstName": "Ann"}]


@pytest.mark.parametrize("properties", [{"ContactId": "k1"}, {"ConsumerId": "", "ContactId": "k1"}])
async def test_every_primary_key_column_must_be_there_and_not_empty(wire: Wire, properties: dict[str, str]) -> None:
    answer = await wire.upsert(row("CMT_Contact", **properties))
    assert (answer.one("OverallStatus"), answer.elements("Results")[0].findtext("{*}ErrorCode")) == ("Error", "310001")
    (error,) = answer.elements("KeyError")
    assert error.findtext("{*}Name") == "ConsumerId"
    assert await wire.rows("CMT_Contact") == []


async def test_an_unknown_column_is_a_permanent_error_of_its_row(wire: Wire) -> None:
    answer = await wire.upsert(row("CMT_Consumer", ConsumerId="c1", ShoeSize="42"))
    assert answer.elements("Results")[0].findtext("{*}ErrorCode") == "310007"
    (error,) = answer.elements("ValueError")
    assert error.findtext("{*}Name") == "ShoeSize"
    assert "ShoeSize" in answer.one("StatusMessage")
    assert await wire.rows("CMT_Consumer") == []


async def test_values_are_checked_by_the_types_of_their_columns(wire: Wire) -> None:
    odd = {"EmailAddress": "not an address", "BirthDate": "31.02.2020", "FirstName": "x" * 201}
    answer = await wire.upsert(row("CMT_Consumer", ConsumerId="c1", **odd))
    assert answer.one("OverallStatus") == "Error"
    assert {error.findtext("{*}Name") for error in answer.elements("ValueError")} == set(odd)


async def test_a_delete_needs_the_whole_primary_key_in_keys(wire: Wire) -> None:
    await wire.upsert(row("CMT_Contact", ConsumerId="c1", ContactId="k1"))
    for incomplete in (
        row("CMT_Contact", keys={"ConsumerId": "c1"}),
        row("CMT_Contact", ConsumerId="c1", ContactId="k1"),
    ):
        answer = await wire.delete(incomplete)
        assert answer.elements("Results")[0].findtext("{*}ErrorCode") == "310001"
        assert answer.elements("Results")[0].get(XSI_TYPE) == "DataExtensionDeleteResult"
    answer = await wire.delete(row("CMT_Contact", keys={"ConsumerId": "c1", "ContactId": "k1"}))
    assert (answer.one("StatusMessage"), answer.elements("Object")) == ("Deleted DataExtensionObject", [])
    assert await wire.rows("CMT_Contact") == []


async def test_deleting_a_row_that_is_gone_is_an_error_of_its_row(wire: Wire) -> None:
    answer = await wire.delete(row("CMT_Consumer", keys={"ConsumerId": "c1"}))
    assert (answer.one("OverallStatus"), answer.one("ErrorCode")) == ("Error", "310002")


async def test_deleting_a_row_that_is_gone_can_be_made_to_succeed() -> None:
    async with running(delete_missing_is_error=False) as wire:
        answer = await wire.delete(row("CMT_Consumer", keys={"ConsumerId": "c1"}))
        assert answer.one("OverallStatus") == "OK"


async def test_deleting_a_parent_leaves_its_children(wire: Wire) -> None:
    await wire.upsert(CONSUMER, row("CMT_Pet", ConsumerId="c1", PetId="p1"))
    await wire.delete(row("CMT_Consumer", keys={"ConsumerId": "c1"}))
    assert len(await wire.rows("CMT_Pet")) == 1


async def test_a_mixed_batch_gives_one_result_per_object_in_its_order(wire: Wire) -> None:
    answer = await wire.upsert(
        CONSUMER,
        row("CMT_Pet", ConsumerId="c1"),
        row("CMT_Nothing", A="1"),
        row("CMT_Pet", ConsumerId="c1", PetId="p1"),
    )
    assert answer.one("OverallStatus") == "Has Errors"
    assert answer.texts("StatusCode") == ["OK", "Error", "Error", "OK"]
    assert answer.texts("OrdinalID") == ["0", "1", "2", "3"]
    assert [result.findtext("{*}ErrorCode") for result in answer.elements("Results")] == [None, "310001", "70003", None]
    calls = await wire.calls()
    assert [(call["dataExtension"], call["status"]) for call in calls] == [
        ("CMT_Consumer", "ok"),
        ("CMT_Pet", "error"),
        ("CMT_Nothing", "error"),
    ]


async def test_more_than_fifty_objects_are_taken_and_counted(wire: Wire) -> None:
    answer = await wire.upsert(*(row("CMT_Consumer", ConsumerId=f"c{number}") for number in range(51)))
    assert (answer.one("OverallStatus"), len(answer.texts("StatusCode"))) == ("OK", 51)
    assert (await wire.get("/_sim/stats"))[1]["largeBatches"] == 1


async def test_an_object_without_its_type_is_refused_as_reported_from_live_tenants(wire: Wire) -> None:
    answer = await wire.upsert(CONSUMER.replace(' xsi:type="DataExtensionObject"', ""))
    assert answer.one("StatusMessage") == "Requested value 'APIObject' was not found."


async def test_text_survives_the_round_trip(wire: Wire) -> None:
    text = "a & <b> \"c\" 'd' é 日本 🐈 ]]> tab\t end"
    await wire.upsert(row("CMT_Consumer", ConsumerId="c1", FirstName=text))
    answer = await wire.retrieve("DataExtensionObject[CMT_Consumer]", "FirstName")
    assert answer.rows() == [{"FirstName": text}]
    assert (await wire.rows("CMT_Consumer"))[0]["FirstName"] == text


async def test_latency_is_added_to_every_call() -> None:
    async with running(latency_ms=80) as wire:
        await wire.upsert(CONSUMER)
        (call,) = await wire.calls()
        assert call["ms"] >= 80
