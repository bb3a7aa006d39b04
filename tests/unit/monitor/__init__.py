"""Tests of fpm_listener.monitor."""
