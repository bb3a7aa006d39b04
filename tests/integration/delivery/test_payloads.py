"""What each service is sent: to the letter, within its limits, and harmless whatever a log says."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fpm_listener.delivery.receivers.http import HttpRequest, RequestContext
from fpm_listener.delivery.receivers.secrets import Secrets
from fpm_listener.incidents.alert import Reason
from fpm_listener.settings.receiver_types import KINDS
from tests.receiver_samples import (
    HTTP_KINDS,
    TEXT_KINDS,
    firing_alert,
    hostile_alert,
    many_alerts,
    resolved_alert,
    settings,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fpm_listener.incidents.alert import Alert

GOLDEN = Path(__file__).parent.parent.parent / "data" / "receivers"
#: Wall seconds of the attempts in this file.
NOW_S = 1_795_000_300.0
URL = "https://service.invalid/hook/s3cret-path?token=t0ken"


def request(kind: str, alerts: Sequence[Alert], folder: Path, **others: Any) -> HttpRequest:  # noqa: ANN401 - its fields
    """Return what is posted to a receiver of that kind."""
    made = settings(kind, URL, folder, **others)
    context = RequestContext(
        alerts=alerts,
        settings=made,
        secrets=Secrets(made),
        external_url="http://web1:19253/",
        now_s=NOW_S,
    )
    module = import_module(f"fpm_listener.delivery.receivers.{KINDS[kind].module}")
    composed = module.compose(context)
    assert isinstance(composed, HttpRequest)
    return composed


def document(kind: str, alerts: Sequence[Alert], folder: Path, **others: Any) -> Any:  # noqa: ANN401 - JSON
    """Return the body, parsed."""
    return json.loads(request(kind, alerts, folder, **others).body)


def shown(kind: str, folder: Path) -> dict[str, Any]:
    """Return the messages that the golden files hold."""
    chinese = {"language": "zh"} if "language" in KINDS[kind].takes else {}
    found = {
        "firing": document(kind, [firing_alert()], folder),
        "resolved": document(kind, [resolved_alert()], folder),
        "worse": document(kind, [replace(firing_alert(2), reason=Reason.WORSE)], folder),
    }
    if chinese:
        found["firing, in Chinese"] = document(kind, [firing_alert()], folder, **chinese)
    if KINDS[kind].batch > 1:
        found["several"] = document(
            kind, [*many_alerts(2), firing_alert(), resolved_alert(3)], folder
        )
    if kind == "webhook":
        for format_ in ("cloudevents", "plain"):
            found[format_] = document(kind, [firing_alert()], folder, format=format_)
    return found


@pytest.mark.parametrize("kind", HTTP_KINDS)
def test_the_payload_is_the_golden_one(kind: str, tmp_path: Path) -> None:
    """FPM_LISTENER_WRITE_GOLDEN=1 writes what is sent now; look at the difference then."""
    path = GOLDEN / f"{kind}.json"
    found = shown(kind, tmp_path)
    if os.environ.get("FPM_LISTENER_WRITE_GOLDEN"):
        path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")

    assert found == json.loads(path.read_text())


# -- limits ----------------------------------------------------------------------------------------

LONG = replace(
    firing_alert(),
    annotations={
        "summary": "s" * 5000,
        "cause": "c" * 500,
        "remedy": "日志" * 3000,
        "evidence": "\n".join(f"line {index} " + '"<&`\\日' * 60 for index in range(400)),
    },
    labels={**firing_alert().labels, "process": "p" * 300, "instance": "h" * 2000},
)


def limits(kind: str, sent: HttpRequest) -> list[tuple[int, int]]:
    """Return pairs of a length and the service's documented limit of it."""
    body = json.loads(sent.body)
    size = len(sent.body)
    return [(size, SIZES[kind])] if kind in SIZES else PARTS[kind](body)


#: Bytes of a whole body.
SIZES = {"teams": 28 * 1024, "google_chat": 32_000, "feishu": 20 * 1024, "dingtalk": 20_000}


def of_slack(body: Any) -> list[tuple[int, int]]:  # noqa: ANN401 - JSON
    (attachment,) = body["attachments"]
    return [(len(attachment["blocks"][0]["text"]["text"]), 3000)]


def of_discord(body: Any) -> list[tuple[int, int]]:  # noqa: ANN401 - JSON
    (embed,) = body["embeds"]
    title, text = len(embed["title"]), len(embed["description"])
    return [(title, 256), (text, 4096), (title + text, 6000)]


PARTS: dict[str, Callable[[Any], list[tuple[int, int]]]] = {
    "slack": of_slack,
    "discord": of_discord,
    "telegram": lambda body: [(len(body["text"]), 4096)],
    "ntfy": lambda body: [
        (len(body["message"].encode()), 4096),
        (len(body["title"].encode()), 1024),
    ],
    "wecom": lambda body: [(len(body["markdown"]["content"].encode()), 4096)],
    "pagerduty": lambda body: [
        (len(json.dumps(body)), 512_000),
        (len(body["payload"]["summary"]), 1024),
    ],
}


@pytest.mark.parametrize("kind", [*TEXT_KINDS, "pagerduty"])
@pytest.mark.parametrize("alert", [LONG, hostile_alert()])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_message_is_longer_than_its_service_takes(
    kind: str,
    alert: Alert,
    language: str,
    tmp_path: Path,
) -> None:
    """Counted as the service counts: characters, or bytes of UTF-8."""
    others = {"language": language} if kind != "pagerduty" else {}
    sent = request(kind, [alert], tmp_path, **others)
    found = limits(kind, sent)

    assert found
    for length, limit in found:
        assert 0 < length <= limit
    if alert is LONG:
        assert re.search(
            r"\d+ (characters cut|earlier lines left out|字|行)", str(json.loads(sent.body))
        )


@pytest.mark.parametrize("kind", [kind for kind in TEXT_KINDS if KINDS[kind].batch > 1])
def test_every_incident_of_a_message_is_named(kind: str, tmp_path: Path) -> None:
    """However many a message holds; and it is within its limits."""
    alerts = many_alerts(KINDS[kind].batch)
    sent = request(kind, alerts, tmp_path)
    text = json.dumps(json.loads(sent.body), ensure_ascii=False).replace("\\\\", "")

    for alert in alerts:
        name = f"{alert.labels['group']}:{alert.labels['process']}"
        assert re.search(rf"{re.escape(name)}\b", text), name
    for length, limit in limits(kind, sent):
        assert length <= limit


@pytest.mark.parametrize("kind", [kind for kind in TEXT_KINDS if KINDS[kind].batch > 1])
def test_long_names_keep_their_end(kind: str, tmp_path: Path) -> None:
    """Their middle is left out, not their end."""
    name = "customer-portal-production.example.com:php-fpm8.2-customer-portal-production-no{}"
    alerts = many_alerts(KINDS[kind].batch, name)
    sent = request(kind, alerts, tmp_path)
    text = json.dumps(json.loads(sent.body), ensure_ascii=False).replace("\\\\", "")

    for index in range(len(alerts)):
        assert re.search(rf"-no{index}\b", text), index
    for length, limit in limits(kind, sent):
        assert length <= limit


def test_what_is_left_of_evidence_is_the_newest(tmp_path: Path) -> None:
    """The text says how many lines are missing."""
    evidence = "\n".join(f"line {index} {'x' * 90}" for index in range(100))
    alert = replace(
        firing_alert(), annotations={**firing_alert().annotations, "evidence": evidence}
    )
    text = document("wecom", [alert], tmp_path)["markdown"]["content"]

    assert "line 99 " in text
    assert "line 0 " not in text
    left_out = re.search(r"\((\d+) earlier lines left out\)", text)
    assert left_out
    assert f"line {left_out[1]} " in text
    assert f"line {int(left_out[1]) - 1} " not in text


# -- nobody is called, nothing is broken -----------------------------------------------------------


class _Tags(HTMLParser):
    """Collects the tags of a text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, _attributes: object) -> None:
        self.found.add(tag)
        self.open += [tag] if tag != "br" else []

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def texts(value: Any) -> list[str]:  # noqa: ANN401 - JSON
    """Return all texts in a document."""
    if isinstance(value, dict):
        return [text for one in value.values() for text in texts(one)]
    if isinstance(value, list):
        return [text for one in value for text in texts(one)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("kind", TEXT_KINDS)
def test_no_invisible_characters_are_sent(kind: str, tmp_path: Path) -> None:
    """No control characters, no changes of direction, no lone surrogates."""
    for text in texts(document(kind, [hostile_alert()], tmp_path)):
        assert not re.search(
            "[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text
        )


def test_slack_mentions_are_escaped(tmp_path: Path) -> None:
    """`<` starts Slack's markup; a backtick ends the block of code."""
    (attachment,) = document("slack", [hostile_alert()], tmp_path)["attachments"]
    text = attachment["blocks"][0]["text"]["text"]

    assert "<" not in text + attachment["fallback"]
    assert text.count("`") == 6  # the block's own
    assert text.endswith("```")
    assert not re.search(r"(?<!\w)_i_", text.partition("```")[0])


def test_discord_mentions_are_disabled(tmp_path: Path) -> None:
    """No mention is parsed; markup is escaped; the block of code ends where it should."""
    body = document("discord", [hostile_alert()], tmp_path)
    (embed,) = body["embeds"]
    before, _, block = embed["description"].partition("```")

    assert body["allowed_mentions"] == {"parse": []}
    assert "content" not in body
    assert not re.search(r"(?<!\\)[<*_~`|]", before.replace("**What to do**", ""))
    assert block.count("`") == 3


def test_telegram_mentions_are_escaped(tmp_path: Path) -> None:
    """Only its own tags, all closed; @name is split outside of code."""
    text = document("telegram", [hostile_alert()], tmp_path)["text"]
    tags = _Tags(text)

    assert tags.found <= {"b", "pre"}
    assert tags.open == []
    assert not re.search(r"@\w", text.partition("<pre>")[0])


def test_google_chat_mentions_are_escaped(tmp_path: Path) -> None:
    """Only its own tags, all closed; no `text`, in which <users/all> notifies."""
    body = document("google_chat", [hostile_alert()], tmp_path)
    widget = body["cardsV2"][0]["card"]["sections"][0]["widgets"][0]
    tags = _Tags(widget["textParagraph"]["text"])

    assert "text" not in body
    assert tags.found <= {"b", "i", "br", "font"}
    assert tags.open == []


def test_teams_mentions_are_escaped(tmp_path: Path) -> None:
    """Only texts without markup, and no entities."""
    card = document("teams", [hostile_alert()], tmp_path)["attachments"][0]["content"]

    assert {block["type"] for block in card["body"]} == {"RichTextBlock"}
    assert "entities" not in card["msteams"]


@pytest.mark.parametrize("kind", ["dingtalk", "wecom"])
def test_markdown_mentions_are_escaped(kind: str, tmp_path: Path) -> None:
    """No link, no picture, no tag, no name with @."""
    body = document(kind, [hostile_alert()], tmp_path)["markdown"]
    text = body.get("text", body.get("content")).replace("**", "")

    assert not re.search(r"[<\[\]`@!*]", text)
    assert all(line.startswith("> ") for line in text.split("\n") if line.startswith(">"))


def test_feishu_mentions_are_escaped(tmp_path: Path) -> None:
    """Only plain text, in which <at> is not markup."""
    card = document("feishu", [hostile_alert()], tmp_path)["card"]

    assert {element["text"]["tag"] for element in card["elements"]} == {"plain_text"}
    assert card["header"]["title"]["tag"] == "plain_text"


# -- what makes them one incident ------------------------------------------------------------------


def test_pagerduty_joins_the_events_of_an_incident(tmp_path: Path) -> None:
    """The same key in each, the incident's id; the last one resolves."""
    first = document("pagerduty", [firing_alert()], tmp_path)
    last = document("pagerduty", [resolved_alert()], tmp_path)

    assert first["dedup_key"] == last["dedup_key"] == firing_alert().incident_id
    assert (first["event_action"], last["event_action"]) == ("trigger", "resolve")
    long = document("pagerduty", [firing_alert(1, "x" * 300)], tmp_path)["dedup_key"]
    assert len(long) <= 255
    assert long != document("pagerduty", [firing_alert(1, "x" * 301)], tmp_path)["dedup_key"]


def test_alertmanager_gets_an_end_in_the_future(tmp_path: Path) -> None:
    """While the alert is firing; its labels are its identity and do not change."""
    (firing,) = document("alertmanager", [firing_alert()], tmp_path)
    (resolved,) = document("alertmanager", [resolved_alert()], tmp_path)

    assert firing["endsAt"] == "2026-11-18T11:15:40.000Z"  # four minutes from NOW_S
    assert resolved["endsAt"] == "2026-11-18T11:07:40.000Z"
    assert firing["labels"] == resolved["labels"] == firing_alert().labels
    assert firing["annotations"] == firing_alert().annotations


@pytest.mark.parametrize(
    "url", ["http://am:9093", "http://am:9093/", "http://am:9093/api/v2/alerts"]
)
def test_the_address_of_an_alertmanager(url: str, tmp_path: Path) -> None:
    """With or without the path of its API."""
    made = settings("alertmanager", url, tmp_path)
    context = RequestContext(
        alerts=[firing_alert()], settings=made, secrets=Secrets(made), external_url="", now_s=NOW_S
    )
    module = import_module("fpm_listener.delivery.receivers.alertmanager")

    assert module.compose(context).url == "http://am:9093/api/v2/alerts"
