"""What people read in an alert, in Chinese: the same sentences as in wording.py, and its labels.

Commands, names and what others have said stay as they are.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from fpm_listener.host import holder_remedies
from fpm_listener.host.address_holders import Holder, HolderKind
from fpm_listener.host.oom_kills import mebibytes
from fpm_listener.incidents import text_en
from fpm_listener.incidents.incident_facts import UNEXPLAINED
from fpm_listener.settings.policy import MOST_A_DAY
from fpm_listener.supervisor import exit_log
from fpm_listener.values import assert_never
from fpm_listener.vocabulary import Cause

if TYPE_CHECKING:
    from fpm_listener.host.address_holders import HolderReport
    from fpm_listener.incidents.incident_facts import IncidentFacts
    from fpm_listener.supervisor.exit_log import ExitReason

_RULED_OUT = {
    Cause.OUT_OF_MEMORY: "因内存不足被杀",
    Cause.MISSING_PATH: "缺少程序或目录",
    Cause.DISK_FULL: "磁盘已满",
    Cause.UNKNOWN_USER: "用户或用户组不存在",
}


def sentences(facts: IncidentFacts, *, over: bool) -> dict[str, str]:
    """As wording.sentences."""
    return {
        "summary": _well_again(facts) if over else _summary(facts),
        "description": _description(facts),
        "remedy": NOTHING_TO_DO if over else _remedy(facts),
    }


def _summary(facts: IncidentFacts) -> str:
    if facts.recovering:
        return f"{facts.name.shown}：正在恢复；此前的故障：{_why(facts)}"
    what = "supervisord 已放弃重启" if facts.gave_up else "反复失败"
    return f"{facts.name.shown}：{_why(facts)}；{what}"


def _well_again(facts: IncidentFacts) -> str:
    return f"{facts.name.shown}：已恢复，或已由运维人员停止；此前的故障：{_why(facts)}"


def _description(facts: IncidentFacts) -> str:
    if facts.only_workers_crash:
        return f"本次故障中已有 {facts.worker_crashes} 个工作进程崩溃，主进程仍在运行。"
    last_exit = facts.last_exit
    how = "" if last_exit is None else f"最近一次退出：{_how(last_exit)}。"
    return f"本次故障中已失败 {facts.failures} 次。{how}{_worn_out(facts)}{_ruled_out(facts)}"


def _worn_out(facts: IncidentFacts) -> str:
    if not facts.worn_out:
        return ""
    return f"一天内已自动重启 {MOST_A_DAY} 次，今天不再启动。"


def _ruled_out(facts: IncidentFacts) -> str:
    if facts.post_mortem is None or facts.cause not in UNEXPLAINED:
        return ""
    words = [_RULED_OUT[cause] for cause in facts.post_mortem.ruled_out]
    return f"已检查本机并排除：{'、'.join(words)}。" if words else ""


def _why(facts: IncidentFacts) -> str:  # noqa: C901, PLR0912 - a case for each cause
    address, last_exit = facts.address, facts.last_exit
    how = f"（{_how(last_exit)}）" if last_exit else ""
    match facts.cause:
        case Cause.BIND_CONFLICT:
            return f"{address or '监听地址'} 已被占用{_by(facts.holder)}"
        case Cause.ADDRESS_ABSENT:
            return f"本机没有网卡使用 {address or '该监听地址'}"
        case Cause.UNKNOWN_USER:
            return f"配置中的用户或用户组不存在{_named(facts)}"
        case Cause.DISK_FULL:
            return f"{facts.folder or '套接字、pid 文件或日志'} 所在的磁盘已满"
        case Cause.FD_LIMIT:
            return "可打开的文件数不足"
        case Cause.MISSING_PATH:
            if facts.missing_program:
                return f"程序 {facts.missing_program} 不存在"
            return f"目录 {facts.folder} 不存在" if facts.folder else "缺少所需的目录"
        case Cause.PERMISSION:
            what = facts.named or facts.address or "其监听地址、套接字、pid 文件或日志"
            return f"没有权限打开 {what}"
        case Cause.CONFIG_ERROR:
            return "php-fpm 拒绝其配置"
        case Cause.OUT_OF_MEMORY:
            limit = facts.oom and facts.oom.limit
            return "因内存不足被内核杀死" + (f"（上限 {mebibytes(limit)}）" if limit else "")
        case Cause.CRASH_SIGNAL if facts.only_workers_crash:
            return f"工作进程崩溃（{exit_log.signal_name(facts.worker_signal or 0)}）"
        case Cause.CRASH_SIGNAL:
            return f"进程崩溃{how}{_every(facts)}"
        case Cause.NOT_ANSWERING:
            return "进程在运行并接受连接，但不响应任何请求"
        case Cause.RESTART_LOOP:
            return f"进程不断退出并被重启{how}{_every(facts)}"
        case Cause.GAVE_UP:
            return f"进程未运行，且不会再被启动{how}"
        case _ as never:  # pragma: no cover
            return assert_never(never)


def _named(facts: IncidentFacts) -> str:
    return f"：{facts.named}" if facts.named else ""


def _every(facts: IncidentFacts) -> str:
    return f"，约每 {facts.every_s:.0f} 秒一次" if facts.every_s >= text_en.SLOW_S else ""


def _by(holder: HolderReport | None) -> str:
    if holder is None:
        return ""
    if holder.holders:
        return "，占用者：" + "；".join(_holder(one) for one in holder.holders)
    return f"；占用者未知：{holder.blind}" if holder.blind else "，但现在已空闲"


def _holder(holder: Holder) -> str:
    fellows = f" 等 {len(holder.others) + 1} 个进程" if holder.others else ""
    match holder.kind:
        case HolderKind.ORPHAN:
            what = f"，已退出的主进程 {holder.master_pid} 的孤儿进程"
        case HolderKind.MASTER:
            what = "，另一个正在运行的 php-fpm"
        case HolderKind.OTHER:
            what = ""
        case _:
            assert_never(holder.kind)
    user = f"，用户 {holder.user}" if holder.user else ""
    where = f"，单元 {holder.unit}" if holder.unit else ""
    where += f"，容器 {holder.container}" if holder.container else ""
    return f"pid {holder.pid}{fellows}（{holder.command}{user}{what}{where}）"


def _how(last_exit: ExitReason) -> str:
    if last_exit.signal is not None:
        return f"被 {exit_log.signal_name(last_exit.signal)} 杀死"
    return f"退出状态 {last_exit.status}"


def _remedy(facts: IncidentFacts) -> str:
    if facts.recovering and facts.cause is Cause.BIND_CONFLICT:
        return "无需处理，除非再次失败"
    sentence = _cure(facts)
    if facts.recovering:
        return f"现在无需处理。为防止再次失败：{sentence}"
    if facts.gave_up:
        return f"{sentence}，然后执行：supervisorctl start {facts.name.shown}"
    return sentence


def _cure(facts: IncidentFacts) -> str:  # noqa: C901, PLR0912 - a case for each cause
    match facts.cause:
        case Cause.BIND_CONFLICT:
            if facts.holder and facts.holder.holders:
                holders = facts.holder.holders
                ours = filter(holder_remedies.is_our_listener, holders)
                return _end(next(ours, holders[0]), facts.site.config)
            command = holder_remedies.look_command(facts.address)
            return f"查看谁占用了该地址（以 root 执行）：{command}"
        case Cause.ADDRESS_ABSENT:
            return "启用该地址（ip addr），或修改 php-fpm 进程池中的 listen"
        case Cause.UNKNOWN_USER:
            return f"创建它（{text_en.create(facts.named)}），或更正 php-fpm 进程池的配置"
        case Cause.DISK_FULL:
            folder = facts.folder or "/run /var/log"
            return f"清理磁盘空间：df -h {folder}; df -i {folder}"
        case Cause.FD_LIMIT:
            return (
                "调大 [supervisord] 中的 minfds（supervisord 会据此设置上限并传给子进程）"
                "或服务的 LimitNOFILE，或调小 php-fpm 配置中的 rlimit_files"
            )
        case Cause.MISSING_PATH:
            return _install(facts)
        case Cause.PERMISSION:
            return _permit(facts)
        case Cause.CONFIG_ERROR:
            return f"按日志所指更正配置，直到此命令不再报错：{facts.site.check_command}"
        case Cause.OUT_OF_MEMORY:
            return (
                "调小 pm.max_children 或 memory_limit，或调大内存上限（容器、systemd 服务或主机）"
            )
        case Cause.CRASH_SIGNAL:
            return _whodunit(facts)
        case Cause.NOT_ANSWERING:
            name = facts.name.shown
            return (
                "查看工作进程在做什么：ps -o pid,stat,etime,wchan:20,cmd --ppid "
                f"$(supervisorctl pid {name})（状态 T：kill -CONT；全忙：调大 pm.max_children "
                f"并设置 request_terminate_timeout），或重启：supervisorctl restart {name}"
            )
        case Cause.RESTART_LOOP | Cause.GAVE_UP:
            return f"查看它最后的输出：{text_en.last_words(facts)}"
        case _ as never:  # pragma: no cover
            return assert_never(never)


def _install(facts: IncidentFacts) -> str:
    if facts.missing_program:
        instead = facts.post_mortem.program_instead if facts.post_mortem else ()
        there = f"（本机有 {'、'.join(instead)}）" if instead else ""
        return (
            f"重新安装 {facts.missing_program}，或在 command= 中改用其他程序{there}，"
            f"然后执行：supervisorctl update {facts.name.group}"
        )
    if facts.folder is None:
        return "创建日志中提到的目录（重启后 /run 为空）"
    return f"创建该目录（重启后 /run 为空）：{text_en.create_folder(facts)}"


def _permit(facts: IncidentFacts) -> str:
    port = facts.privileged_port
    if port is not None:
        return f"只有 root 可以监听端口 {port}：以 root 启动 php-fpm，或改用 1024 及以上的端口"
    path = facts.forbidden_path
    if path is None:
        return "为 php-fpm 的用户授予日志中所述资源的访问权限"
    return f"查看是哪个目录拒绝访问，并授予权限：namei -l {path}"


def _whodunit(facts: IncidentFacts) -> str:
    last = facts.last_exit
    if last and last.signal == signal.SIGKILL and not facts.worker_signal:
        if facts.post_mortem and Cause.OUT_OF_MEMORY in facts.post_mortem.ruled_out:
            return "查明是谁发送了 SIGKILL：看门狗、定时任务、stopwaitsecs 或人工操作"
        return "查看是否因内存不足被内核杀死：dmesg | grep -i oom"
    return "多为 PHP 扩展所致（php -m 可列出）：先停用最近新增的扩展"


def _end(holder: Holder, config: str) -> str:
    if holder_remedies.is_our_listener(holder):
        return (
            "等待下一次启动：启动失败后监听器会释放该地址；若仍未释放，请重启监听器："
            "supervisorctl restart fpm-listener"
        )
    if holder.kind is HolderKind.ORPHAN:
        return f"结束孤儿进程（会先处理完手头的请求）：kill -QUIT {holder_remedies.whom(holder)}"
    if holder.unit:
        return f"彻底停用另一个服务：systemctl disable --now {holder.unit}"
    if holder_remedies.is_itself(holder, config):
        return (
            f"停止它（kill -QUIT {holder.pid}）：它使用的正是这份配置，"
            "在后台运行（命令缺少 -F 且 daemonize = yes）或由人工启动"
        )
    if holder.kind is HolderKind.MASTER:
        return (
            f"停止另一个 php-fpm（kill -QUIT {holder.pid}），并查明是谁启动了它："
            "发行版自带的服务，或 daemonize = yes"
        )
    return f"停止它（kill {holder.pid}），或为 php-fpm 换一个地址"


NOTHING_TO_DO = "无需再做任何处理"


def receiver_failure(
    name: str, why: str, lasted: str, pending: int, *, over: bool
) -> dict[str, str]:
    """Return the texts of an alert about a receiver, by annotation."""
    return {
        "summary": f"接收端 {name} 已恢复，此前中断 {lasted}"
        if over
        else f"告警无法送达接收端 {name}：{why}",
        "description": f"有 {pending} 条告警等待发送。",
        "remedy": NOTHING_TO_DO if over else f"请在本机手动测试：fpm-listener alerts test {name}",
    }
