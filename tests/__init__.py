"""The tests of fpm-listener."""
