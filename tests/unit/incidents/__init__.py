"""Tests of fpm_listener.incidents."""
