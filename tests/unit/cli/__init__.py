"""Tests of fpm_listener.cli."""
