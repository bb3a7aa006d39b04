"""The address in a command is found by the names of options."""

import pytest

from fpm_listener.supervisor.listen_options import guess


@pytest.mark.parametrize(
    ("command", "address"),
    [
        ("/usr/bin/app --port 8080", "*:8080"),
        ("/usr/bin/app --port=8080", "*:8080"),
        ("java -Dserver.port=9090 -jar /app.jar", "*:9090"),
        ("java -jar /app.jar --server.port=9090", "*:9090"),
        ("gunicorn -b 0.0.0.0:8000 app:app", "0.0.0.0:8000"),
        ("gunicorn --bind 127.0.0.1:8000 app:app", "127.0.0.1:8000"),
        ("gunicorn --bind=[::1]:8000 app:app", "[::1]:8000"),
        ("puma -b tcp://0.0.0.0:9292", "0.0.0.0:9292"),
        ("php -S localhost:8000 -t public", "localhost:8000"),
        ("python manage.py runserver 0.0.0.0:8000", "0.0.0.0:8000"),
        ("python manage.py runserver 8001", "*:8001"),
        ("python -m http.server 8002", "*:8002"),
        ("python -m http.server --bind 127.0.0.1 8002", "*:8002"),
        ("php artisan serve --host=0.0.0.0 --port=8003", "*:8003"),
        ("memcached -p 11211 -u memcache", "*:11211"),
        ("memcached -p11211", "*:11211"),
        ("mysqld --port=3306", "*:3306"),
        ("prometheus --web.listen-address=:9090", "*:9090"),
        ("consul agent -http-port=8500", "*:8500"),
        ('/bin/sh -c "exec node app.js --port 3000"', "*:3000"),
        ("node app.js", None),
        ("app --port none", None),
        ("app --port 99999", None),
        ("app --support 80", None),
        ("app -p", None),
        ("app 'unbalanced", None),
        ("", None),
    ],
)
def test_a_command(command: str, address: str | None) -> None:
    """Usual options of servers are known; other words are not."""
    assert guess(command) == address


def test_the_environment() -> None:
    """PORT is the usual variable; an option of the command is more exact."""
    assert guess("npm start", {"PORT": "3000"}) == "*:3000"
    assert guess("npm start --port 4000", {"PORT": "3000"}) == "*:4000"
