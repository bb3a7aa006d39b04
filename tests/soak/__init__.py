"""Tests of fpm_listener.soak."""
