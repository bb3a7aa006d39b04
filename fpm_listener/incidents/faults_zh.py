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
        "创建该文件，或更正 [{section}] 的 command= 中的路径，然后执行：{update}",
    ),
    Fault.NO_LIBRARY: Text("缺少共享库 {named}", "安装包含 {named} 的软件包"),
    Fault.NO_COMMAND: Text(
        "找不到命令 {named}",
        "安装 {named}，或更正执行它的脚本中的路径，或更正 [{section}] 的 environment= 中的 PATH",
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
        "更正进程池中的 apparmor_hat，或 php-fpm 的 AppArmor 配置。"
        "内核会记录被拒绝的操作{on_host}：dmesg | grep -i apparmor",
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
        "把进程池的 user 和 group 改为普通账户。若确需 root，请在 [{section}] 的 "
        "command= 中添加 -R",
    ),
    Fault.PHP_SETTINGS: Text(
        "PHP 无法以当前设置启动",
        "按日志所指更正 {php_ini}、预加载脚本或扩展",
    ),
    Fault.USAGE: Text(
        "php-fpm 不认识它的选项{options}",
        "更正 [{section}] 的 command= 中的选项（{usage} 可列出），然后执行：{update}",
    ),
    Fault.NO_SHARED_MEMORY: Text(
        "PHP 无法从内核获得共享内存",
        "调小 {php_ini} 中的 opcache.memory_consumption，或调大进程（ulimit -v）或容器的内存上限",
    ),
    Fault.NO_MEMORY: Text(
        "无法从内核获得内存",
        "释放内存，或调大进程（ulimit -v）、容器或主机的内存上限",
    ),
    Fault.NO_PROGRAM: Text(
        "程序 {named} 不存在",
        "重新安装 {named}，或在 command= 中改用其他程序{instead}，然后执行：{update}",
    ),
    Fault.NO_INTERPRETER: Text(
        "{named} 的解释器不存在", "安装该解释器，或更正 {named} 的第一行：head -1 {file}"
    ),
    Fault.NO_LOADER: Text(
        "{named} 所需的加载器不存在",
        "安装适用于本系统的版本：为 Alpine（musl）编译的程序不能在 Debian（glibc）上运行，反之亦然",
    ),
    Fault.WINDOWS_LINE: Text(
        "{named} 的第一行以 CR LF（Windows 换行符）结尾",
        "删除 CR 字符：sed -i 's/\\r$//' {file}",
    ),
    Fault.NO_DIRECTORY: Text(
        "其工作目录 {folder} 不存在",
        "创建该目录（{create_folder}），或更正配置段中的 directory=，然后执行：{update}",
    ),
    Fault.IS_DIRECTORY: Text(
        "{named} 是目录，不是程序",
        "在 command= 中填写程序的路径，然后执行：{update}",
    ),
    Fault.NOT_EXECUTABLE: Text("{named} 没有执行权限", "添加执行权限：chmod 755 {file}"),
    Fault.NOEXEC_MOUNT: Text(
        "{named} 所在的文件系统不允许执行程序（noexec）",
        "把程序移到其他文件系统，或去掉该文件系统的 noexec 挂载选项",
    ),
    Fault.NOT_ROOT: Text(
        "supervisord 不是以 root 运行，无法以其他用户启动它",
        "以 root 启动 supervisord，或删除配置段中的 user=",
    ),
    Fault.NO_UID: Text(
        "本机不存在 {named}",
        "更正配置段中的 user=，然后执行：{update}",
    ),
    Fault.NO_FORMAT: Text(
        "{named} 不是本机可以执行的程序",
        "查看它的内容（head -1 {file}）：脚本的第一行应为 #!/bin/sh 之类，"
        "二进制程序须为本机的处理器编译",
    ),
    Fault.BAD_COMMAND: Text(
        "supervisord 无法解析其 command=",
        "更正配置段中 command= 的引号，然后执行：{update}",
    ),
}
