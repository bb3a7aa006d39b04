"""The texts about faults in English: kinds of a cause that have their own problem and remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.incidents.language import Text
from fpm_listener.vocabulary import Cause, Fault

if TYPE_CHECKING:
    from fpm_listener.incidents.variants import Variant

FAULTS: dict[Cause | Variant | Fault, Text] = {
    Fault.NO_FAMILY: Text(
        "its listen address is|was not available on this host, and IPv6 is|was probably off",
        "Listen on an IPv4 address, such as 127.0.0.1:9000, or enable IPv6",
    ),
    Fault.NO_CONFIG_FILE: Text(
        "its configuration file {named} is|was missing",
        "Create the file, or correct its path in command= of [{section}], then type: {update}",
    ),
    Fault.NO_LIBRARY: Text(
        "the shared library {named} is|was missing",
        "Install the package that contains {named}",
    ),
    Fault.NO_COMMAND: Text(
        "its command {named} is|was missing",
        "Install {named}, or correct its path in the script that runs it, or PATH in environment= "
        "of [{section}]",
    ),
    Fault.NO_POOL_FOLDER: Text(
        "the folder {folder}, which its pool needs, is|was missing, or is|was not a folder",
        "Create it ({create_folder}), or correct chdir, chroot or prefix in the php-fpm "
        "configuration",
    ),
    Fault.SOCKET_OWNER: Text(
        "it is|was not allowed to change the owner of {what}",
        "Start php-fpm as root (no user= in its section), or remove listen.owner and "
        "listen.group from the php-fpm pool",
    ),
    Fault.PRIORITY: Text(
        "it is|was not allowed to set its priority",
        "Remove process.priority from the php-fpm configuration, or give the container the "
        "capability: --cap-add SYS_NICE",
    ),
    Fault.CORE_LIMIT: Text(
        "it is|was not allowed to set rlimit_core",
        "Remove rlimit_core from the php-fpm configuration, or raise the limit: LimitCORE of the "
        "service, --ulimit core=-1 of the container",
    ),
    Fault.CHANGE_USER: Text(
        "it is|was not allowed to change to the user of its pool",
        "Give the container the capabilities (--cap-add SETUID --cap-add SETGID), or start "
        "php-fpm as the user of the pool",
    ),
    Fault.APPARMOR: Text(
        "AppArmor does|did not allow the profile of its pool",
        "Correct apparmor_hat in the php-fpm pool, or the AppArmor profile of php-fpm. The kernel "
        "logs what it denies{on_host}: dmesg | grep -i apparmor",
    ),
    Fault.NO_ACL: Text(
        "the file system of {what} does|did not support ACLs",
        "Use listen.owner, listen.group and listen.mode in the php-fpm pool instead of "
        "listen.acl_users and listen.acl_groups, or put the socket on another file system",
    ),
    Fault.BAD_LISTEN: Text(
        "its listen address is|was invalid",
        "Correct `listen` in the php-fpm pool: a port from 1 to 65535, and a host that this "
        "command can resolve: getent hosts HOST",
    ),
    Fault.SHARED_ADDRESS: Text(
        "two pools have|had the same listen address: {pools}",
        "Give each pool another value of `listen`, or delete one of the pools",
    ),
    Fault.ROOT_POOL: Text(
        "the user of a pool is|was root",
        "Set user and group in the php-fpm pool to an ordinary account. If root is intended, add "
        "-R to command= of [{section}]",
    ),
    Fault.PHP_SETTINGS: Text(
        "PHP does|did not start with its settings",
        "Fix what the evidence shows in {php_ini}, in the preload script or in an extension",
    ),
    Fault.USAGE: Text(
        "php-fpm does|did not understand its options{options}",
        "Correct the options in command= of [{section}] ({usage} lists them), then type: {update}",
    ),
    Fault.NO_SHARED_MEMORY: Text(
        "the kernel gives|gave PHP no shared memory",
        "Lower opcache.memory_consumption in {php_ini}, or raise the memory limit of the process "
        "(ulimit -v) or of the container",
    ),
    Fault.NO_MEMORY: Text(
        "the kernel gives|gave it no memory",
        "Free some memory, or raise the memory limit of the process (ulimit -v), of the container "
        "or of the host",
    ),
    Fault.NO_PROGRAM: Text(
        "its program {named} is|was missing",
        "Install {named} again, or set another program in command={instead}, then type: {update}",
    ),
    Fault.NO_INTERPRETER: Text(
        "the interpreter of {named} is|was missing",
        "Install the interpreter, or correct the first line of {named}: head -1 {file}",
    ),
    Fault.NO_LOADER: Text(
        "{named} needs|needed a loader that is|was missing",
        "Install a build of it for this system. A program for Alpine (musl) does not run on "
        "Debian (glibc), and a program for Debian does not run on Alpine",
    ),
    Fault.WINDOWS_LINE: Text(
        "the first line of {named} ends|ended with CR LF, as on Windows",
        "Remove the CR characters: sed -i 's/\\r$//' {file}",
    ),
    Fault.NO_DIRECTORY: Text(
        "its directory {folder} is|was missing",
        "Create it ({create_folder}), or correct directory= in its section, then type: {update}",
    ),
    Fault.IS_DIRECTORY: Text(
        "{named} is|was a directory, not a program",
        "Set the path of the program in command=, then type: {update}",
    ),
    Fault.NOT_EXECUTABLE: Text(
        "{named} is|was not executable", "Make it executable: chmod 755 {file}"
    ),
    Fault.NOEXEC_MOUNT: Text(
        "the file system of {named} does|did not allow programs (noexec)",
        "Move the program to another file system, or mount this one without noexec",
    ),
    Fault.NOT_ROOT: Text(
        "supervisord is|was not root, and may|might not start it as another user",
        "Start supervisord as root, or remove user= from its section",
    ),
    Fault.NO_UID: Text(
        "{named} does|did not exist on this host",
        "Correct user= in its section, then type: {update}",
    ),
    Fault.NO_FORMAT: Text(
        "{named} is|was not a program that this host can execute",
        "Check what it is (head -1 {file}). A script needs a first line such as #!/bin/sh; a "
        "binary needs a build for this processor",
    ),
    Fault.BAD_COMMAND: Text(
        "supervisord does|did not accept its command=",
        "Correct the quotes of command= in its section, then type: {update}",
    ),
}
