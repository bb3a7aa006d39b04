"""Tests of fpm_listener.status."""
