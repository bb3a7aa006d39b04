"""What supervisord does not tell about php-fpm: restart loops, their cause, and who was told."""

__version__ = "0.1.0"
