"""Tests with real supervisord, php-fpm, Prometheus and Chromium."""
