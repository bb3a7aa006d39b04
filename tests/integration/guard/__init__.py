"""Tests of fpm_listener.guard."""
