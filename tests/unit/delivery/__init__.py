"""Tests of fpm_listener.delivery."""
