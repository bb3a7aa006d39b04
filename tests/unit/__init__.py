"""Tests of pure modules: no file, sleep or thread."""
