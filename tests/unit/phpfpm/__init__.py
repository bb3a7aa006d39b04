"""Tests of fpm_listener.phpfpm."""
