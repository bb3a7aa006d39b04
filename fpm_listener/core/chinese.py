"""What people read in an alert, in Chinese: the same sentences as in wording.py, and its labels.

Commands, names and what others have said stay as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.core import wording
from fpm_listener.core.holders import Holder, HolderKind
from fpm_listener.core.snapshot import Cause
from fpm_listener.core.values import assert_never

if TYPE_CHECKING:
    from fpm_listener.core.exits import ExitReason
    from fpm_listener.core.holders import HolderReport
    from fpm_listener.core.wording import Plight


def sentences(plight: Plight, *, over: bool) -> dict[str, str]:
    """As wording.sentences."""
    return {
        "summary": _well_again(plight) if over else _summary(plight),
        "description": _description(plight),
        "remedy": NOTHING_TO_DO if over else _remedy(plight),
    }


def _summary(plight: Plight) -> str:
    what = "supervisord 已放弃重启" if plight.gave_up else "反复失败"
    return f"{plight.name}：{_why(plight)}；{what}"


def _well_again(plight: Plight) -> str:
    return f"{plight.name}：已恢复，或已由运维人员停止；此前的故障：{_why(plight)}"


def _description(plight: Plight) -> str:
    last_exit = plight.last_exit
    how = "" if last_exit is None else f"最近一次退出：{_how(last_exit)}。"
    return f"本次故障中已失败 {plight.failed_lives} 次。{how}"


def _why(plight: Plight) -> str:
    address, last_exit = plight.address, plight.last_exit
    how = f"（{_how(last_exit)}）" if last_exit else ""
    match plight.cause:
        case Cause.BIND_CONFLICT:
            return f"{address or '监听地址'} 已被占用{_by(plight.holder)}"
        case Cause.ADDRESS_ABSENT:
            return f"本机没有网卡使用 {address or '该监听地址'}"
        case Cause.UNKNOWN_USER:
            return "配置中的用户或用户组不存在"
        case Cause.MISSING_PATH:
            return "缺少所需的目录"
        case Cause.PERMISSION:
            return "没有权限打开其监听地址、套接字、pid 文件或日志"
        case Cause.CONFIG_ERROR:
            return "php-fpm 拒绝其配置"
        case Cause.CRASH_SIGNAL:
            return f"进程崩溃{how}"
        case Cause.RESTART_LOOP:
            return f"进程不断退出并被重启{how}"
        case Cause.GAVE_UP:
            return f"进程未运行，且不会再被启动{how}"
        case _ as never:  # pragma: no cover
            return assert_never(never)


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
        return f"被 {wording.signal_name(last_exit.signal)} 杀死"
    return f"退出状态 {last_exit.status}"


def _remedy(plight: Plight) -> str:
    sentence = _cure(plight)
    if plight.gave_up:
        return f"{sentence}，然后执行：supervisorctl start {plight.name}"
    return sentence


def _cure(plight: Plight) -> str:
    match plight.cause:
        case Cause.BIND_CONFLICT:
            if plight.holder and plight.holder.holders:
                return _end(plight.holder.holders[0])
            return f"查看谁占用了该地址（以 root 执行）：{wording.look_command(plight.address)}"
        case Cause.ADDRESS_ABSENT:
            return "启用该地址（ip addr），或修改 php-fpm 进程池中的 listen"
        case Cause.UNKNOWN_USER:
            return "创建该用户或用户组，或在 php-fpm 进程池中更正（见日志）"
        case Cause.MISSING_PATH:
            return "创建日志中提到的目录（重启后 /run 为空）"
        case Cause.PERMISSION:
            return "为 php-fpm 的用户授予日志中所述资源的访问权限"
        case Cause.CONFIG_ERROR:
            return "按日志所指更正配置；php-fpm -t 可检查配置"
        case Cause.CRASH_SIGNAL:
            return "找出杀死它的原因：SIGKILL 多为内核内存不足（dmesg），SIGSEGV 多为 PHP 扩展"
        case Cause.RESTART_LOOP | Cause.GAVE_UP:
            return f"查看它最后的输出：supervisorctl tail {plight.name} stderr"
        case _ as never:  # pragma: no cover
            return assert_never(never)


def _end(holder: Holder) -> str:
    if wording.is_our_listener(holder):
        return "请稍候数秒：监听器为已停止的程序暂留该地址，随后会自动释放（hold_linger）"
    pids = " ".join(str(pid) for pid in (holder.pid, *holder.others))
    if holder.kind is HolderKind.ORPHAN:
        return f"结束孤儿进程（会先处理完手头的请求）：kill -QUIT {pids}"
    if holder.unit:
        return f"彻底停用另一个服务：systemctl disable --now {holder.unit}"
    if holder.kind is HolderKind.MASTER:
        return (
            f"停止另一个 php-fpm（kill -QUIT {holder.pid}），并查明是谁启动了它："
            "发行版自带的服务，或 daemonize = yes"
        )
    return f"停止 pid {holder.pid}，或为 php-fpm 换一个地址"


NOTHING_TO_DO = "无需再做任何处理"


def failing(name: str, why: str, lasted: str, owed: int, *, over: bool) -> dict[str, str]:
    """Return what is said of a receiver that cannot be told."""
    return {
        "summary": f"接收端 {name} 已恢复，此前中断 {lasted}"
        if over
        else f"告警无法送达接收端 {name}：{why}",
        "description": f"有 {owed} 条告警等待发送。",
        "remedy": NOTHING_TO_DO if over else f"请在本机手动测试：fpm-listener alerts test {name}",
    }
