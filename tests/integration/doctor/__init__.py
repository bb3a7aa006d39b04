"""Tests of fpm_listener.doctor."""
