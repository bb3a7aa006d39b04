"""Tests of fpm_listener.daemon."""
