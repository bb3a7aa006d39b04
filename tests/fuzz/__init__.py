"""Tests of fpm_listener.fuzz."""
