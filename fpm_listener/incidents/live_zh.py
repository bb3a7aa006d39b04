"""The texts in Chinese about problems that are not failures: the same rows as in live_en.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.incidents.language import Text
from fpm_listener.incidents.variants import Variant
from fpm_listener.vocabulary import Cause

if TYPE_CHECKING:
    from fpm_listener.vocabulary import Fault

_FIND_REASON = "{read}。若其中没有原因，请在进程池中设置 catch_workers_output = yes{reload}"

LIVE: dict[Cause | Variant | Fault, Text] = {
    Variant.WORKERS_OOM: Text(
        "因内存不足，工作进程被内核杀死{limit}",
        "{lower}，或调大内存上限{raise_memory}",
    ),
    Cause.WORKER_FAILURE: Text("工作进程异常退出{worker_exit}", _FIND_REASON, "{read}"),
    Variant.WORKERS_FOLDER: Text(
        "工作进程无法启动，因为 {worker_folder} 不存在",
        "重新创建 {worker_folder}，或将{pool} chdir 和 chroot 设为部署时不会删除的目录。重启无效",
    ),
    Variant.WORKERS_START: Text(
        "{pool}工作进程无法启动{worker_exit}",
        "检查工作进程启动所需的设置：进程池的 chdir、chroot、user、group 和 rlimit_files。"
        + _FIND_REASON,
    ),
    Variant.WORKERS_KILLED: Text(
        "工作进程反复被杀死（SIGKILL）",
        "查看是否因内存不足被内核杀死{on_host}：dmesg | grep -i oom",
    ),
    Variant.WORKERS_KILLED_NOT_BY_OOM: Text(
        "工作进程反复被杀死（SIGKILL）",
        "查明是谁发送了 SIGKILL：看门狗、定时任务或人工操作",
    ),
    Cause.EXIT_LOOP: Text(
        "进程反复退出{exit_words}{restarts}",
        "让它运行得更久：队列进程需要循环（不用 --once 和 --stop-when-empty，"
        "可用 --max-time 限制时长），其他任务需要 sleep。若它本应结束，请设置 "
        "autorestart=unexpected；若它本应立即再次启动，请设置 startsecs=0",
    ),
    Cause.NOT_ANSWERING: Text(
        "进程在运行并接受连接，但不响应任何请求",
        "查看工作进程在做什么：{workers}。状态 T 表示已停止：kill -CONT PID。若全忙，请设置 "
        "request_terminate_timeout。若请求需要更多工作进程，请{grow}{restart}",
    ),
    Cause.SATURATED: Text(
        "进程池的工作进程全忙，等待的客户端过多",
        "查看工作进程在做什么：{workers}。如果请求很慢，请查明原因（例如设置 "
        "request_slowlog_timeout）；否则{grow}",
    ),
    Cause.STOP_TIMEOUT: Text(
        "进程未及时停止，被 supervisord 杀死{stop_s}",
        "将其配置段中的 stopwaitsecs 调到大于停止所需的秒数，然后执行：{update}",
    ),
    Variant.STOP_TIMEOUT_FPM: Text(
        "进程未及时停止，被 supervisord 杀死{stop_s}；正在处理的请求被中断",
        "将其配置段中的 stopwaitsecs 调到大于最长请求的秒数，将 php-fpm 配置中的 "
        "process_control_timeout 设为比它少 5 秒，然后执行：{update}",
    ),
    Cause.OPCACHE_FULL: Text(
        "OPcache 已满，PHP 反复重新编译脚本",
        "在 {php_ini} 中设置：{opcache_setting}。PHP 之后读取的文件可能设置了别的值，列出它们："
        "{ini_files}{reload}",
    ),
}
