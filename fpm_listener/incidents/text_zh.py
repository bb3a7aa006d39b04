"""The texts about incidents in Chinese: the same rows as in text_en.py.

Commands, names and texts of other programs stay as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.host import holder_remedies
from fpm_listener.host.address_holders import Holder, HolderKind, HolderSupervisor
from fpm_listener.incidents.faults_zh import FAULTS
from fpm_listener.incidents.language import Language, Text
from fpm_listener.incidents.live_zh import LIVE
from fpm_listener.incidents.size_zh import SIZES
from fpm_listener.incidents.variants import Variant
from fpm_listener.supervisor.exit_log import signal_name
from fpm_listener.vocabulary import Cause, Fault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm_listener.supervisor.exit_log import ExitReason


def _describe_exit(last_exit: ExitReason) -> str:
    if last_exit.signal is not None:
        return f"被 {signal_name(last_exit.signal)} 杀死"
    return f"退出状态 {last_exit.status}"


def _describe_holder(holder: Holder) -> str:
    others = f" 等 {len(holder.others) + 1} 个进程" if holder.others else ""
    kind = {
        HolderKind.ORPHAN: f"，已退出的主进程 {holder.master_pid} 的孤儿进程",
        HolderKind.MASTER: "，另一个正在运行的 php-fpm",
        HolderKind.OTHER: "",
    }[holder.kind]
    user = f"，用户 {holder.user}" if holder.user else ""
    where = f"，单元 {holder.unit}" if holder.unit else ""
    where += f"，容器 {holder.container}" if holder.container else ""
    supervisor = holder.supervisor
    if supervisor is not None and supervisor.pid:
        where += f"，由{_describe_supervisor(supervisor)}启动"
    return f"pid {holder.pid}{others}（{holder.command}{user}{kind}{where}）"


def _describe_supervisor(supervisor: HolderSupervisor) -> str:
    which = {"supervisord": "本 " if supervisor.ours else "另一个 "}.get(supervisor.kind, " ")
    return f"{which}{supervisor.kind}（{supervisor.place}）"


def _free_address(holders: Sequence[Holder], config: str) -> str:
    holder = next(filter(holder_remedies.is_our_listener, holders), holders[0])
    if holder_remedies.is_our_listener(holder):
        restart = holder_remedies.restart_listener(holder)
        return (
            "等待下一次启动：启动失败后监听器会释放该地址；若仍未释放，请重启监听器"
            f"{f'：{restart}' if restart else ''}"
        )
    if holder.kind is HolderKind.ORPHAN:
        return f"结束孤儿进程（会先处理完手头的请求）：kill -QUIT {holder_remedies.whom(holder)}"
    if holder.supervisor:
        return _stop_supervised(holder, holder.supervisor)
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
    return f"停止它（kill {holder.pid}），或换一个地址"


def _stop_supervised(holder: Holder, supervisor: HolderSupervisor) -> str:
    stop = supervisor.stop
    if supervisor.kind in holder_remedies.CONTAINERS:
        what = "停止其所在的容器，否则它可能会被重新启动"
        return f"{what}：{stop or supervisor.place}"
    if supervisor.ours:
        what = "它是同一 supervisord 的另一个程序：为其中之一换一个地址"
        return f"{what}，或停止它：{stop}" if stop else what
    what = f"{_describe_supervisor(supervisor)}会在它被杀死后重新启动它"
    if stop:
        return f"{what}；请在那里停止它：{stop}"
    if supervisor.status:
        return f"{what}；请在那里停止它，其名称可用此命令查看：{supervisor.status}"
    command = holder_remedies.stop_supervisor(holder, supervisor)
    if command is None:
        return f"{what}；请在那里停止它"
    return f"{what}；请停止该 {supervisor.kind}：{command}"


_FIND_HOLDER = "查看谁占用了该地址（以 root 执行）：{look}"
_FAULTY_EXTENSION = "多为 PHP 扩展所致（{modules} 可列出）：先停用最近新增的扩展"
_FAULTY_PROGRAM = (
    "检查最近的变更：程序、库或输入数据。若要用 gdb 分析核心转储，"
    "请在启动 supervisord 之前执行 `ulimit -c unlimited`"
)
_NOT_ALLOWED = "没有权限打开 {what}"

CHINESE = Language(
    causes={
        **FAULTS,
        **LIVE,
        Cause.BIND_CONFLICT: Text("{address} 已被占用", _FIND_HOLDER),
        Variant.HOLDER_KNOWN: Text("{address} 已被占用，占用者：{holders}", "{free}"),
        Variant.OWN_POOLS: Text(
            "{address} 已被同一个 php-fpm 的另一个进程池占用：{pools}",
            "为每个进程池的 listen 设置不同的端口，或删除其中一个进程池",
        ),
        Variant.HOLDER_INVISIBLE: Text(
            "{address} 已被占用；占用者未知：{blind}",
            "{left}用 --cap-add SYS_PTRACE 启动容器才能看到占用者；否则只能看到其 uid：{look_user}",
        ),
        Variant.HOLDER_HIDDEN: Text("{address} 已被占用；占用者未知：{blind}", _FIND_HOLDER),
        Variant.HOLDER_GONE: Text("{address} 曾被占用，但现在已空闲", _FIND_HOLDER),
        Cause.ADDRESS_ABSENT: Text(
            "本机没有网卡使用 {address}",
            "在网卡上启用 {host}（{addresses} 可查看），或修改 php-fpm 进程池中的 listen",
            "在网卡上启用 {host}（{addresses} 可查看），或修改程序配置中的地址",
        ),
        Cause.UNKNOWN_USER: Text(
            "本机不存在 {named}",
            "创建它（{create_user}），或更正 php-fpm 进程池的配置",
            "创建它（{create_user}），或更正程序的配置",
        ),
        Cause.DISK_FULL: Text(
            "{folder} 所在的磁盘已满", "清理磁盘空间：df -h {disk}; df -i {disk}"
        ),
        Cause.FD_LIMIT: Text(
            "可打开的文件数不足",
            "调大 [supervisord] 中的 minfds（supervisord 会据此设置上限并传给子进程）"
            "或服务的 LimitNOFILE，或调小 php-fpm 配置中的 rlimit_files",
            "调大 [supervisord] 中的 minfds（supervisord 会据此设置上限并传给子进程）"
            "或服务的 LimitNOFILE",
        ),
        Cause.PROCESS_LIMIT: Text(
            "进程数已达上限",
            "调大上限（服务的 TasksMax、容器的 --pids-limit 或用户的 nproc），"
            "或调小 php-fpm 进程池中的 pm.max_children",
            "调大上限（服务的 TasksMax、容器的 --pids-limit 或用户的 nproc）",
        ),
        Cause.MISSING_PATH: Text("缺少所需的目录", "创建日志中提到的目录（重启后 /run 为空）"),
        Variant.MISSING_FOLDER: Text(
            "目录 {folder} 不存在", "创建该目录（重启后 /run 为空）：{create_folder}"
        ),
        Variant.MISSING_PROGRAM: FAULTS[Fault.NO_PROGRAM],
        Cause.PERMISSION: Text(
            _NOT_ALLOWED,
            "为 php-fpm 的用户授予日志中所述资源的访问权限",
            "为程序的用户授予日志中所述资源的访问权限",
        ),
        Variant.READ_ONLY: Text(
            "{what} 位于只读文件系统（read-only file system）",
            "让 {folder} 可写：在那里挂载卷或 tmpfs（docker run --tmpfs {mount_folder}）{remount}",
        ),
        Variant.STANDARD_ERROR: Text(
            _NOT_ALLOWED,
            "将 error_log 设为 php-fpm 的用户可写的文件，或以 root 启动 php-fpm"
            "（其配置段中不设 user=，工作进程仍以进程池的用户运行）",
            "让程序把日志写到其用户可写的文件，或以 root 启动它（其配置段中不设 user=）",
        ),
        Variant.PRIVILEGED_PORT: Text(
            _NOT_ALLOWED,
            "只有 root 可以监听端口 {port}：以 root 启动 php-fpm（其配置段中不设 user=，"
            "工作进程仍以进程池的用户运行），或改用 1024 及以上的端口",
            "只有 root 可以监听端口 {port}：以 root 启动该程序（其配置段中不设 user=），"
            "或改用 1024 及以上的端口",
        ),
        Variant.FORBIDDEN_PATH: Text(
            _NOT_ALLOWED, "查看是哪个目录或文件拒绝访问，并授予权限：{denied}"
        ),
        Cause.CONFIG_ERROR: Text("配置无效", "按日志所指更正"),
        Variant.TESTED_CONFIG: Text(
            "php-fpm 的配置无效", "按日志所指更正配置，直到此命令不再报错：{check}"
        ),
        Cause.OUT_OF_MEMORY: Text(
            "因内存不足被内核杀死{limit}",
            "{lower}，或调大内存上限{raise_memory}",
            "减少该程序的内存用量，或调大内存上限{raise_memory}",
        ),
        Cause.CRASH_SIGNAL: Text("进程崩溃{exit}{interval}", _FAULTY_EXTENSION, _FAULTY_PROGRAM),
        Variant.SIGNAL_SENT: Text(
            "进程被信号终止{exit}{interval}",
            "查明是谁向它发送了 {signal}：脚本、定时任务、logrotate 或人工操作",
        ),
        Variant.WORKERS_CRASH: Text("工作进程崩溃（{signal}）", _FAULTY_EXTENSION),
        Variant.KILLED: Text(
            "进程崩溃{exit}{interval}",
            "查看是否因内存不足被内核杀死{on_host}：dmesg | grep -i oom",
        ),
        Variant.KILLED_NOT_BY_OOM: Text(
            "进程崩溃{exit}{interval}",
            "查明是谁发送了 SIGKILL：看门狗、定时任务、stopwaitsecs 或人工操作",
        ),
        Cause.RESTART_LOOP: Text("进程反复重启{exit}{interval}", "{read}"),
        Cause.GAVE_UP: Text("进程未运行{exit}", "{read}"),
    },
    ruled_out={
        Cause.OUT_OF_MEMORY: "因内存不足被杀",
        Cause.MISSING_PATH: "缺少程序或目录（{names}）",
        Cause.DISK_FULL: "磁盘已满（{names}）",
        Cause.UNKNOWN_USER: "用户或用户组不存在（{names}）",
    },
    defaults={
        "address": "监听地址",
        "host": "该地址",
        "named": "配置中的用户或用户组",
        "folder": "套接字、pid 文件或日志",
        "what": "其监听地址、套接字、pid 文件或日志",
        "create_folder": "install -d FOLDER",
        "php_ini": "php.ini",
        "raise_memory": "（容器或主机）",
        "mount_folder": "目录",
        "signal": "该信号",
        "opcache_setting": "更大的值（依证据：opcache.memory_consumption（内存）或 "
        "opcache.max_accelerated_files（键））",
    },
    frames={
        **SIZES,
        "comma": "、",
        "semicolon": "；",
        "exit": "（{value}）",
        "options": "：{value}",
        "interval": "，约每 {value} 秒一次",
        "limit": "（上限 {value}）",
        "instead": "（本机有 {value}）",
        "remount": "，或让其文件系统可写：{value}",
        "on_host": "（在容器的宿主机上以 root 执行）",
        "reload": "，然后重新加载 php-fpm",
        "reload_by": "，然后重新加载 php-fpm：{value}",
        "exit_words": "，退出状态 {value}",
        "worker_exit": "（{value}）",
        "pool": "进程池 {value} 的",
        "left": "结束上次运行遗留的工作进程（kill -QUIT {value}）；若地址仍被占用：",
        "restarts": "：{span} 秒内重启 {value} 次；supervisord 视其为正常",
        "stop_s": "（stopwaitsecs={value}）",
        "firing": "{name}：{problem}；反复失败",
        "runs": "{name}：{problem}",
        "gave_up": "{name}：{problem}；supervisord 已放弃重启",
        "recovering": "{name}：正在恢复；此前的故障：{problem}",
        "resolved": "{name}：已恢复，或已由运维人员停止；此前的故障：{problem}",
        "workers_crashed": "本次故障中已有 {count} 个工作进程崩溃，主进程仍在运行。",
        "workers_failed": "本次故障中 php-fpm 已记录 {count} 次工作进程异常，主进程仍在运行。",
        "exit_loop": "对 supervisord 而言这些退出不是故障，每次都会立即再次启动该程序。",
        "stop_timeout": "停止不是故障。该程序再次运行后，此告警即解除。",
        "not_answering": "supervisord 未发现异常，因此不会重启 php-fpm。",
        "saturated": "php-fpm 仍在响应请求。队列一旦满，新客户端将被拒绝。",
        "opcache_full": "php-fpm 仍在响应请求，但变慢。"
        "OPcache 一小时内不再重启、也不再拒绝脚本后，此告警即解除。",
        "one_failure": "本次故障中已失败 1 次。",
        "failures": "本次故障中已失败 {count} 次。",
        "last_exit": "最近一次退出：{exit}。",
        "no_exit": "退出状态未知：{setting} 时 supervisord 的日志不记录退出。"
        "请在 [supervisord] 中设置 {fix}。",
        "hidden": "supervisord 把它的输出转到 {target}（容器中用 docker logs 查看），"
        "所以本告警无法显示。如需显示，请{changes}，然后{apply}。",
        "no_log": "supervisord 不保存它的输出，所以本告警无法显示。"
        "如需显示，请{changes}，然后{apply}。",
        "add_lines": "在 [{section}] 中加入 {lines}",
        "add_events": "在监听器小节的 events= 中加入 PROCESS_LOG",
        "and": " 和 ",
        "and_also": "，并",
        "update": "执行：{command}",
        "restart": "重启 supervisord 及其全部程序：{command}",
        "worn_out": "一天内已自动重启 {count} 次，今天不再启动。",
        "ruled_out": "已检查本机并排除：{names}。",
        "nothing": "无需处理",
        "nothing_unless": "无需处理，除非再次失败",
        "nothing_now": "现在无需处理。为防止再次失败：{remedy}",
        "read_file": "查看它最后的输出：{value}",
        "read_device": "在 supervisord 的输出（{value}）中查看它最后的输出：容器日志或其服务的日志",
        "read_syslog": "在系统日志中查看它最后的输出",
        "read_none": "supervisord 不保存它的输出；请设置 {value}，并在下次失败后查看该文件",
        "read_unknown": "查看它最后的输出",
        "restart_it": "。也可以重启：{value}",
        "restart_all": "。也可以重启 supervisord 及其全部程序：{value}",
        "update_it": "{value}",
        "update_all": "{value}（这会重启 supervisord 及其全部程序）",
        "then_start": "{remedy}，然后执行：{{start}}",
        "then_restart_all": "{remedy}，然后重启 supervisord 及其全部程序"
        "（supervisorctl 无法连接它）：{{start}}",
        "receiver_failing": "告警无法送达接收端 {name}：{why}",
        "receiver_works": "接收端 {name} 已恢复，此前中断 {lasted}",
        "pending": "有 {count} 条告警等待发送。",
        "receiver_test": "请在本机手动测试：fpm-listener alerts test {name}",
    },
    describe_exit=_describe_exit,
    describe_holder=_describe_holder,
    free_address=_free_address,
)
