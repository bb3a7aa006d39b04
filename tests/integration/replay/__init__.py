"""Tests of fpm_listener.replay."""
