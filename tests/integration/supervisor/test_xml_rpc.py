"""The bodies of XML-RPC, compared with the standard library."""

from __future__ import annotations

import tracemalloc
import xmlrpc.client
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpm_listener.supervisor import xml_rpc

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What XML 1.0 can carry. A carriage return becomes a line feed.
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"))
VALUES = st.recursive(
    st.integers(-(2**31), 2**31 - 1) | st.booleans() | st.none() | st.floats(-1e9, 1e9) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=100, deadline=None)
@given(VALUES)
def test_each_value_is_read_as_the_standard_library_reads_it(value: object) -> None:
    """Arrays in structs in arrays, texts of all languages, and numbers."""
    body = xmlrpc.client.dumps((value,), methodresponse=True, allow_none=True)  # type: ignore[arg-type]  # any value

    assert xml_rpc.answer(body.encode()) == xmlrpc.client.loads(body)[0][0] == value


@pytest.mark.parametrize(
    "value",
    [
        "",
        " two  words ",
        "<&>\"' é 人 ]]>",
        0,
        -7,
        True,
        False,
        [],
        {},
        [[], {}, "a", [1, ["b", {"c": {}}]]],
        {"name": "é", "pid": 0, "more": [{"a": "", "b": [True]}, ""], "": {"x": []}},
    ],
)
def test_values_are_read_as_the_standard_library_writes_them(value: object) -> None:
    """Also with white space between the elements, and strings without a type."""
    body = xmlrpc.client.dumps((value,), methodresponse=True)  # type: ignore[arg-type]  # any value

    assert xml_rpc.answer(body.encode()) == value
    assert xml_rpc.answer(body.replace("<string>", "").replace("</string>", "").encode()) == value


def test_a_fault_is_raised() -> None:
    """With its text."""
    body = xmlrpc.client.dumps(xmlrpc.client.Fault(70, "NOT_RUNNING: é"))

    with pytest.raises(xml_rpc.FaultError, match="NOT_RUNNING: é"):
        xml_rpc.answer(body.encode())


def test_requests_are_written_as_the_standard_library_reads_them() -> None:
    """Names of programs are any text."""
    arguments = ("a<b>&amp;:é", -32768, 0, True, False)

    body = xml_rpc.request("supervisor.readLog", arguments)

    assert xmlrpc.client.loads(body.decode()) == (arguments, "supervisor.readLog")


@pytest.mark.parametrize(
    "inner",
    [
        "",
        "<value>a</value><value>b</value>",
        "<value><int></int></value>",
        "<value><int>x</int></value>",
        "<value><boolean>2</boolean></value>",
        "<value><base64>YQ==</base64></value>",
        "<value><struct><member><name>a</name></member></struct></value>",
        "<value><struct><member><value><struct/></value><value>b</value></member></struct></value>",
        "</value>",
        f"<value><int>{'9' * 33}</int></value>",
        "<value><double>1e999</double></value>",
        "<value><double>nan</double></value>",
        "<value><b>a</b></value>",
        "<value lang='en'>a</value>",
        "<value><array><data>" * 21 + "</data></array></value>" * 21,
    ],
)
def test_damaged_answers(inner: str) -> None:
    """They are errors of one kind; so are those that supervisord never sends."""
    body = f"<methodResponse><params><param>{inner}</param></params></methodResponse>"

    with pytest.raises(ValueError):  # noqa: PT011 - the texts are for nobody
        xml_rpc.answer(body.encode())


@pytest.mark.parametrize("fault", ["<array><data/></array>", "<int>1</int>"])
def test_a_fault_without_a_text(fault: str) -> None:
    """It is damaged."""
    member = f"<member><name>faultString</name><value>{fault}</value></member>"

    with pytest.raises(ValueError, match="without a text"):
        xml_rpc.answer(f"<fault><value><struct>{member}</struct></value></fault>".encode())


def test_the_text_of_a_fault_is_short() -> None:
    """It goes into the log."""
    body = xmlrpc.client.dumps(xmlrpc.client.Fault(1, "x" * 100_000))

    with pytest.raises(xml_rpc.FaultError) as caught:
        xml_rpc.answer(body.encode())
    assert len(caught.value.text) == 1000


def hostile() -> Iterator[tuple[str, bytes]]:
    """Yield answers that need much memory if all of them is read."""
    yield (
        "entities",
        b"<!DOCTYPE a [<!ENTITY a '%s'>]><value>%s</value>" % (b"x" * 9999, b"&a;" * 999),
    )
    yield "file", b"<!DOCTYPE a [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><value>&a;</value>"
    yield "names", b"".join(b"<a%x/>" % number for number in range(1 << 16))
    yield "attributes", b"<value %s/>" % b" ".join(b"a%x=''" % number for number in range(1 << 16))
    yield "deep", b"<array>" * (1 << 16)
    yield "wide", b"<array>" + b"<struct/>" * (1 << 16)


@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in hostile()])
def test_an_answer_of_a_hostile_server(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused before it needs memory."""
    monkeypatch.setattr(xml_rpc, "_MOST", 1000)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError):  # noqa: PT011 - the texts are for nobody
            xml_rpc.answer(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 << 20
