"""Tests of fpm_listener.supervisor."""
