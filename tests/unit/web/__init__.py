"""Tests of fpm_listener.web."""
