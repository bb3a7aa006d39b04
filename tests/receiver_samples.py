"""Settings of a receiver of each type on loopback, and alerts that are hard to format."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fpm_listener.settings.receiver_types import KINDS
from fpm_listener.settings.receivers import ReceiverSettings
from tests.samples import fires, resolves

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fpm_listener.incidents.alert import Alert

#: What each service says when it has taken a message.
YES: Mapping[str, bytes] = {
    "webhook": b"",
    "alertmanager": b"",
    "slack": b"ok",
    "discord": b"",
    "teams": b"",
    "google_chat": b'{"name":"spaces/1/messages/2"}',
    "telegram": b'{"ok":true,"result":{}}',
    "ntfy": b'{"id":"x"}',
    "pagerduty": b'{"status":"success","message":"Event processed"}',
    "feishu": b'{"code":0,"msg":"success"}',
    "dingtalk": b'{"errcode":0,"errmsg":"ok"}',
    "wecom": b'{"errcode":0,"errmsg":"ok"}',
}
#: Those whose yes is in the body, not in the status.
SAYS_YES = ("slack", "telegram", "feishu", "dingtalk", "wecom")
HTTP_KINDS = tuple(YES)
TEXT_KINDS = tuple(kind for kind in HTTP_KINDS if "language" in KINDS[kind].takes)

SECRETS = {
    "token_file": "31337:b0tt0ken-s3cret",
    "secret_file": "SECs3cretsigning",
    "routing_key_file": "r0utings3cretkey",
    "password_file": "passw0rd-s3cret",
}
HOSTILE = (
    "<!channel> <@U123> @everyone @here <@all> <users/all> <at id=all></at> ```x``` *b* _i_ ~s~",
    "</pre></b> &amp; ![x](http://evil.invalid/a.png) [a](http://evil.invalid) \x1b[31mred",
    "\u202egnp.exe",
    "# heading | table || spoiler || \ud83d lone",
)


def settings(kind: str, url: str, folder: Path, **others: Any) -> ReceiverSettings:  # noqa: ANN401 - its fields
    """Return settings of this type, with all files that it needs."""
    files: dict[str, Path] = {}
    wanted = {need for needs in KINDS[kind].needs for need in needs.split("|")}
    wanted |= {"secret_file"} & set(KINDS[kind].takes) if kind != "webhook" else set()
    for name, secret in SECRETS.items():
        if name in wanted:
            files[name] = folder / f"{kind}-{name}"
            files[name].write_text(f"{secret}\n")
            files[name].chmod(0o600)
    made = ReceiverSettings(name=kind, kind=kind, url=url, timeout_s=20.0, **files)  # type: ignore[arg-type]  # files only
    if kind == "telegram":
        made = replace(made, chat_id="-1001")
    if kind in {"feishu", "dingtalk", "wecom"}:
        made = replace(made, keyword="fpm")
    return replace(made, **others)


def firing_alert(sequence: int = 1, incident: str = "www:php-fpm-1795000000.000") -> Alert:
    """Return a firing alert as the listener creates it."""
    return replace(
        fires(incident, sequence),
        labels={
            "alertname": "PhpFpmFailing",
            "group": "www",
            "instance": "web1",
            "process": "php-fpm",
            "severity": "critical",
            "supervisor": "supervisor",
        },
        annotations={
            "summary": "www:php-fpm: 127.0.0.1:9000 is in use by pid 812 (php-fpm: pool www, user"
            " www-data, orphan of the dead master 640); it keeps failing",
            "description": "3 failures in this incident. Last exit: exit status 78.",
            "cause": "bind_conflict",
            "evidence": "[23-Nov-2026 08:42:29] ERROR: unable to bind listening socket for address"
            " '127.0.0.1:9000': Address already in use (98)\n"
            "[23-Nov-2026 08:42:29] ERROR: FPM initialization failed",
            "remedy": "End the orphaned workers, which finish their requests first:"
            " kill -QUIT 812 813",
            "address": "127.0.0.1:9000",
        },
        translations={
            "zh": {
                "summary": "www:php-fpm：127.0.0.1:9000 已被占用；反复失败",  # noqa: RUF001 - Chinese
                "description": "本次故障中已失败 3 次。",
                "remedy": "结束孤儿进程：kill -QUIT 812 813",  # noqa: RUF001 - Chinese
            },
        },
    )


def resolved_alert(sequence: int = 2, incident: str = "www:php-fpm-1795000000.000") -> Alert:
    """Return the resolved alert of the same incident."""
    texts = {"summary": "www:php-fpm: resolved", "remedy": "No action is needed"}
    firing = firing_alert(sequence, incident)
    return replace(
        resolves(incident, sequence),
        labels=firing.labels,
        annotations={**firing.annotations, **texts},
    )


def hostile_alert() -> Alert:
    """Return an alert whose texts try to notify people and to break the markup."""
    evil = "\n".join(HOSTILE)
    return replace(
        firing_alert(),
        labels={**firing_alert().labels, "process": HOSTILE[0][:60]},
        annotations={
            **dict.fromkeys(("summary", "remedy", "evidence", "address"), evil),
            "cause": "x",
        },
        translations={},
    )


def many_alerts(count: int, name: str = "php-fpm-{}") -> list[Alert]:
    """Return alerts of as many incidents, each of another program; name: with its number."""
    return [
        replace(
            firing_alert(1, f"pool:php-fpm-{index}-1795000000.000"),
            labels={**firing_alert().labels, "group": "pool", "process": name.format(index)},
            annotations={
                **firing_alert().annotations,
                "summary": f"pool:{name.format(index)}: it is in a restart loop"
                " (killed by SIGKILL); it keeps failing",
            },
            translations={},
        )
        for index in range(count)
    ]
