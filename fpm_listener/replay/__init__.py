"""The diagnosis of an outage from log files, after it is over: `explain --logs`.

It reads the logs of supervisord and php-fpm, and gives them to the engine of the listener.
Start reading at `log_lines`.
"""
