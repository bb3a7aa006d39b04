"""Watches php-fpm under supervisord: restart loops, their causes, alerts."""

__version__ = "0.1.0"

#: The address of the project, for links in packages and documents. Its owner sets it before the
#: first publication: an https:// URL whose pages are as those of GitHub or GitLab.
PROJECT_URL = ""

#: The default of the setting state_dir. It is here because the guard must not load the settings.
DEFAULT_STATE_DIR = "/var/lib/fpm-listener"
#: Include directories of supervisord's packages on Debian, Red Hat and Alpine, and the endings of
#: the files in them. It is here because `healthy` must not load the settings.
FOLDERS = (
    ("/etc/supervisor/conf.d", "conf"),
    ("/etc/supervisord.d", "ini"),
    ("/etc/supervisor.d", "ini"),
)
