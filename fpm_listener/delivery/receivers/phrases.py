"""The labels around an alert, in each language; its sentences are in incidents/text_….py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fpm_listener.incidents.alert import Reason
from fpm_listener.vocabulary import Severity

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrases:
    """The labels of one language."""

    host: str
    cause: str
    since: str
    resolved_at: str
    news: str
    note: str
    remedy: str
    firing: str
    resolved: str
    test: str
    several: str  #: with {host}, {firing} and {resolved}
    not_sent_before: str
    cut: str  #: with {n} characters
    left_out: str  #: with {n} lines
    severities: Mapping[Severity, str]
    reasons: Mapping[Reason, str]  #: those that are worth a line
    causes: Mapping[str, str]  #: causes with another name than their own


ENGLISH = Phrases(
    host="Host",
    cause="Cause",
    since="Since",
    resolved_at="Resolved",
    news="Update",
    note="Note",
    remedy="What to do",
    firing="Firing",
    resolved="Resolved",
    test="Test",
    several="{host}: {firing} firing, {resolved} resolved",
    not_sent_before="it started and ended while no alert could be sent",
    cut="... ({n} characters cut)",
    left_out="({n} earlier lines left out)",
    severities={Severity.INFO: "info", Severity.WARNING: "warning", Severity.CRITICAL: "critical"},
    reasons={
        Reason.CAUSE_CHANGED: "the cause changed",
        Reason.WORSE: "it got worse",
        Reason.REPEAT: "it is still firing",
    },
    causes={},
)

CHINESE = Phrases(
    host="主机",
    cause="原因",
    since="开始时间",
    resolved_at="恢复时间",
    news="更新",
    note="说明",
    remedy="处理方法",
    firing="告警",
    resolved="已恢复",
    test="测试",
    several="{host}：{firing} 个故障告警中，{resolved} 个已恢复",
    not_sent_before="该故障在无法通知期间发生并已恢复",
    cut="…（略去 {n} 字）",
    left_out="（略去更早的 {n} 行）",
    severities={Severity.INFO: "提示", Severity.WARNING: "警告", Severity.CRITICAL: "严重"},
    reasons={
        Reason.CAUSE_CHANGED: "原因已更新",
        Reason.WORSE: "情况恶化",
        Reason.REPEAT: "故障仍在持续",
    },
    causes={
        "bind_conflict": "监听地址冲突 (bind_conflict)",
        "address_absent": "监听地址不存在 (address_absent)",
        "unknown_user": "用户不存在 (unknown_user)",
        "disk_full": "磁盘已满 (disk_full)",
        "fd_limit": "打开文件数不足 (fd_limit)",
        "process_limit": "进程数已达上限 (process_limit)",
        "missing_path": "路径不存在 (missing_path)",
        "permission": "权限不足 (permission)",
        "config_error": "配置错误 (config_error)",
        "out_of_memory": "内存不足 (out_of_memory)",
        "crash_signal": "进程崩溃 (crash_signal)",
        "worker_failure": "工作进程异常",
        "not_answering": "无响应 (not_answering)",
        "saturated": "繁忙 (saturated)",
        "restart_loop": "反复重启 (restart_loop)",
        "gave_up": "放弃重启 (gave_up)",
        "exit_loop": "反复正常退出",
        "stop_timeout": "停止超时",
        "opcache_full": "OPcache 已满",
        "notification_failing": "告警无法送达 (notification_failing)",
    },
)

PHRASES = {"en": ENGLISH, "zh": CHINESE}
