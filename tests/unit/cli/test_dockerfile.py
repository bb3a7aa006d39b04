"""What a Dockerfile says about its image."""

from __future__ import annotations

from fpm_listener.cli import dockerfile
from fpm_listener.cli.dockerfile import Image


def test_the_last_stage_counts() -> None:
    """Its system comes from the stage that it is built on, and its user is the last one."""
    text = """\
# syntax=docker/dockerfile:1
ARG VERSION=8.4
FROM --platform=linux/amd64 php:${VERSION}-fpm-alpine AS base
USER root
FROM node:22 as assets
RUN npm ci
FROM base
COPY --chown=root:root docker/supervisor.conf \\
    docker/nginx.conf /etc/
COPY ["docker/supervisor.conf", "/etc/supervisord.conf"]
HEALTHCHECK CMD curl -f http://localhost/
USER nobody:nogroup
CMD ["supervisord", "-n"]
"""
    expected = Image("Alpine", "nobody", "/etc/supervisord.conf", has_healthcheck=True)
    assert dockerfile.read(text, "supervisor.conf") == expected


def test_what_is_not_plain_is_unknown() -> None:
    """A variable as user and a base image without a known system say nothing."""
    text = "FROM registry.example/base\nUSER $APP_USER\nHEALTHCHECK NONE\nCOPY . /app\n"
    assert dockerfile.read(text, "supervisord.conf") == Image()
    assert dockerfile.read("", "supervisord.conf") == Image()
    assert dockerfile.read("FROM php:8.3-fpm\n", "x").system == "Debian"


def test_settings_of_php_fpm() -> None:
    """Each section appears once, in a file that is read after the others."""
    values = [("global", "a", "1"), ("www", "b", "2"), ("global", "c", "3")]
    texts = "'[global]' 'a = 1' 'c = 3' '[www]' 'b = 2'"
    line = f"RUN printf '%s\\n' {texts} > /pools/zzz-fpm-listener.conf"
    assert dockerfile.drop_in("/pools", values) == [line]
