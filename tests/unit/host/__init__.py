"""Tests of fpm_listener.host."""
