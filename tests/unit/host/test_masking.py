"""Command lines of others are shown without their secrets."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm_listener.host.masking import MASK, masked, masked_text

SECRET = "hunter2SECRET"


@pytest.mark.parametrize(
    "command",
    [
        "mysqldump --password=<S> db",
        "mysqldump --password <S> db",
        "mysql -uroot -p<S> db",
        "mysqladmin -p<S> ping",
        "sshpass -p <S> ssh host",
        "sshpass -p<S> ssh host",
        "curl -u user:<S> https://host/",
        "curl --user user:<S> https://host/",
        "curl https://user:<S>@host/path",
        "curl https://<S>@host/path",
        "curl ftp://user:a@<S>@host/path",
        "curl 'https://host/?token=<S>&x=1'",
        "curl 'https://host/?x=1&api_key=<S>'",
        "curl -H 'Authorization: Bearer <S>' https://host/",
        "curl -H 'authorization:Basic <S>' https://host/",
        "curl -H 'X-Api-Key: <S>' https://host/",
        "curl -H 'Cookie: session=<S>' https://host/",
        'curl -d \'{"user":"u","password":"<S>"}\' https://host/',
        "curl https://hooks.slack.com/services/<S>",
        "env PASSWORD=<S> php worker.php",
        "env DB_PASSWORD=<S> MYSQL_PWD=<S> PGPASSWORD=<S> php",
        "env AWS_SECRET_ACCESS_KEY=<S> node x",
        "app --token <S> --port 9000",
        "app --api-key=<S> --apiKey <S> -token <S>",
        "app --client-secret='<S> with blanks' --port 9000",
        "java -Dspring.datasource.password=<S> -jar x.jar",
        "redis-cli -a <S> ping",
        "ldapsearch -w <S> -b dc=x",
        "openssl rsa -passin pass:<S>",
        "docker login -p <S> registry",
        "sh -c 'mysql --password=<S> -e x'",
        "bash -lc \"PASSWORD='<S> two' mysqldump -uroot -p<S>\"",
        "sh -c \"curl -H 'Authorization: Bearer <S>' https://host/\"",
        "app token:<S>",
        "app 'passwd = <S>'",
        "psql postgresql://u:<S>@db:5432/x?sslmode=require",
        "app ghp_<S>_0123456789abcdef",
    ],
)
def test_secrets(command: str) -> None:
    """Neither in words nor as one text is the secret shown."""
    command = command.replace("<S>", SECRET)
    words = shlex.split(command)
    assert SECRET not in masked(words), masked(words)
    assert SECRET not in masked_text(command), masked_text(command)
    assert MASK in masked(words)


@pytest.mark.parametrize(
    "command",
    [
        "php-fpm: master process (/etc/php/8.2/fpm/php-fpm.conf)",
        "php-fpm: pool www",
        "/usr/sbin/php-fpm8.2 -F -y /etc/php-fpm.conf",
        "nginx: worker process",
        "python -m http.server --bind 127.0.0.1 9000",
        "ssh -p 22 host",
        "docker run -p 9000:9000 php:fpm",
        "app --password-file=/run/secrets/db --port 9000",
        "app --token-url https://host/token",
        "mysql -p db",
        "fpm-listener listen --config /etc/supervisor/conf.d/fpm_listener.conf",
        "socat TCP-LISTEN:9000,fork UNIX-CONNECT:/run/php.sock",
        "/bin/sh -c sleep 1 && exec php-fpm -F",
        "monkey --keyboard=us --author=me --compass 3",
    ],
)
def test_what_is_no_secret(command: str) -> None:
    """It is shown as it is."""
    assert masked_text(command) == command
    assert masked(command.split(" ")) == command


def test_what_tells_the_program_stays() -> None:
    """Only the secret is gone."""
    assert masked(["mysql", "-uroot", "-px", "--host=db"]) == "mysql -uroot -p*** --host=db"
    assert masked(["curl", "https://u:p@h:8443/x?token=t&y=1"]) == (
        "curl https://***@h:8443/x?token=***&y=1"
    )
    assert masked(["app", "--password", "x", "--port", "1"]) == "app --password *** --port 1"


@given(st.lists(st.text()), st.text())
def test_any_words(words: list[str], text: str) -> None:
    """Nothing raises, and no blank is lost between words."""
    assert masked(words).count(" ") >= len(words) - 1
    masked_text(text)
