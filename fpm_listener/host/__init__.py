"""The machine: processes, addresses, counters of the kernel.

Reads /proc, sockets and cgroups. It decides nothing about php-fpm or supervisord.
Start with `procfs` (one process) and `holder_search` (which process listens on an address).
"""
