"""The texts about faults in Chinese: the same rows as in faults_en.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.incidents.language import Text
from fpm_listener.vocabulary import Cause, Fault

if TYPE_CHECKING:
    from fpm_listener.incidents.variants import Variant

FAULTS: dict[Cause | Variant | Fault, Text] = {
    Fault.NO_FAMILY: Text(
        "本机无法使用该监听地址，IPv6 可能已关闭",
        "改用 IPv4 地址（例如 127.0.0.1:9000），或启用 IPv6",
    ),
    Fault.NO_CONFIG_FILE: Text(
        "配置文件 {named} 不存在",
        "创建该文件，或更正 [program:{group}] 的 command= 中的路径，然后执行：{update}",
    ),
    Fault.NO_POOL_FOLDER: Text(
        "进程池所需的目录 {folder} 不存在，或不是目录",
        "创建该目录（{create_folder}），或更正 php-fpm 配置中的 chdir、chroot 或 prefix",
    ),
    Fault.SOCKET_OWNER: Text(
        "没有权限更改 {what} 的属主",
        "以 root 启动 php-fpm（其配置段中不设 user=），或删除进程池中的 listen.owner 和 "
        "listen.group",
    ),
    Fault.PRIORITY: Text(
        "没有权限设置进程优先级",
        "删除 php-fpm 配置中的 process.priority，或为容器增加权限：--cap-add SYS_NICE",
    ),
    Fault.CORE_LIMIT: Text(
        "没有权限设置 rlimit_core",
        "删除 php-fpm 配置中的 rlimit_core，或调大上限：服务的 LimitCORE，容器的 --ulimit core=-1",
    ),
    Fault.CHANGE_USER: Text(
        "没有权限切换到进程池的用户",
        "为容器增加权限（--cap-add SETUID --cap-add SETGID），或以进程池的用户启动 php-fpm",
    ),
    Fault.APPARMOR: Text(
        "AppArmor 不允许进程池使用其配置文件",
        "更正进程池中的 apparmor_hat，或 php-fpm 的 AppArmor 配置。内核会记录被拒绝的操作："
        "dmesg | grep -i apparmor",
    ),
    Fault.NO_ACL: Text(
        "{what} 所在的文件系统不支持 ACL",
        "在进程池中用 listen.owner、listen.group 和 listen.mode 代替 listen.acl_users 和 "
        "listen.acl_groups，或把套接字放到其他文件系统",
    ),
    Fault.BAD_LISTEN: Text(
        "监听地址无效",
        "更正进程池中的 listen：端口为 1 至 65535，主机名须能解析：getent hosts HOST",
    ),
    Fault.SHARED_ADDRESS: Text(
        "两个进程池的监听地址相同：{pools}",
        "为每个进程池设置不同的 listen，或删除其中一个进程池",
    ),
    Fault.ROOT_POOL: Text(
        "进程池的用户是 root",
        "把进程池的 user 和 group 改为普通账户。若确需 root，请在 [program:{group}] 的 "
        "command= 中添加 -R",
    ),
    Fault.PHP_SETTINGS: Text(
        "PHP 无法以当前设置启动",
        "按日志所指更正 {php_ini}、预加载脚本或扩展",
    ),
    Fault.USAGE: Text(
        "php-fpm 不认识它的选项{options}",
        "更正 [program:{group}] 的 command= 中的选项（php-fpm -h 可列出），然后执行：{update}",
    ),
    Fault.NO_SHARED_MEMORY: Text(
        "PHP 无法从内核获得共享内存",
        "调小 {php_ini} 中的 opcache.memory_consumption，或调大进程（ulimit -v）或容器的内存上限",
    ),
    Fault.NO_MEMORY: Text(
        "无法从内核获得内存",
        "释放内存，或调大进程（ulimit -v）、容器或主机的内存上限",
    ),
}
