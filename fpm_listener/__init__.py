"""Watches php-fpm under supervisord: restart loops, their causes, alerts."""

__version__ = "0.1.0"

#: The default of the setting state_dir. It is here because the guard must not load the settings.
DEFAULT_STATE_DIR = "/var/lib/fpm-listener"
