"""Tests of fpm_listener.settings."""
