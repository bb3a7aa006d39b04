"""php-fpm: its configuration, logs, status page and sockets.

Reads php-fpm's formats. It does not know supervisord and decides nothing.
Start with `config` (php-fpm.conf) and `log_parser` (one log line to one fact).
"""
