"""Command lines of others are shown without their secrets."""

import shlex
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm_listener.host import masking
from fpm_listener.host.masking import MASK, masked, masked_line, masked_text

SECRET = "hunter2SECRET"
#: Lines with a secret that a language or a format marks.
FORMS = (
    "APP_KEY=base64:<S>abcdefghijklmnop=",
    "ENCRYPTION_KEY=<S>",
    "signing_key=<S>",
    "webhook_key=<S>",
    "LICENSE_KEY=<S>",
    "    [password] => <S>",
    "[DB_PASSWORD] => <S>",
    "define('DB_PASSWORD', '<S>');",
    'define("DB_PASSWORD", "<S>");',
    "root:<S>@tcp(127.0.0.1:3306)/app",
    "dsn=root:<S>/@a@unix(/run/mysqld.sock)/app",
    "CREATE USER x IDENTIFIED BY '<S>'",
    "create user x identified with caching_sha2_password by '<S>'",
    "ALTER USER x WITH PASSWORD '<S> two'",
    "PHPSESSID=<S>",
    "<password>a <S></password>",
    '<wsse:Password Type="x"><S></wsse:Password>',
    "AIzaSyA1234567890<S>",
    "SG.abcdefghijkl.<S>",
    "whsec_<S>abcdefgh",
    "npm_abcdefghij1234567890<S>",
)


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


#: `name program…: option…`; what comes behind the option is a secret.
OPTIONS = """
    curl: -u -U --user --proxy-user
    sshpass mongo mongosh mongodump mongorestore docker-login: -p
    redis-cli redis-benchmark: -a
    ldapsearch ldapadd ldapmodify ldapdelete: -w
    mosquitto_pub mosquitto_sub ipmitool zip unzip: -P
    smbclient rpcclient: -U
    snmpget snmpwalk snmpset: -c -A -X
    lftp: -u
    openssl: -k -K
"""
#: Their option takes a secret that is attached to it; a word behind it is something else.
ATTACHED = (
    "mysql mysqldump mysqladmin mysqlcheck mysqlimport mytop mariadb mariadb-dump mariadb-admin "
    "7z 7za"
)


@pytest.mark.parametrize(
    ("program", "option"),
    [
        (program, option)
        for line in OPTIONS.strip().splitlines()
        for program in line.partition(":")[0].split()
        for option in line.partition(":")[2].split()
    ],
)
def test_options_that_only_their_program_knows(program: str, option: str) -> None:
    """In a folder or not; of another program the same option is none."""
    name = program.replace("-login", " login") if program == "docker-login" else program
    for path in (name, f"/usr/bin/{name}"):
        shown = masked([*path.split(), option, SECRET, "host"])
        assert shown == f"{path} {option} {MASK} host"
    if len(option) == 2:
        assert masked([*name.split(), option + SECRET]) == f"{name} {option}{MASK}"
    assert masked(["app", option, "x"]) in {f"app {option} x", f"app {option} {MASK}"}


@pytest.mark.parametrize("program", ATTACHED.split())
def test_options_with_an_attached_secret(program: str) -> None:
    """A word of its own is a database or a file."""
    assert masked([program, f"-p{SECRET}", "db"]) == f"{program} -p{MASK} db"
    assert masked([program, "-p", "db"]) == f"{program} -p db"


WORDS = (
    "pass password passwd passphrase passwort passin passout pwd pw secret secrets token tokens "
    "auth authorization authtoken apikey credential credentials cookie cookies jwt otp signature "
    "sig api-key access-key private-key secret-key auth-key account-key shared-keys"
)


@pytest.mark.parametrize("word", WORDS.split())
def test_names_of_secrets(word: str) -> None:
    """Alone, in another name, and in any letters; a name that ends otherwise has none."""
    for name in (word, f"db.{word}", f"X_{word.upper()}", f"my-{word}"):
        assert masked([f"{name}={SECRET}"]) == f"{name}={MASK}"
        assert masked(["app", f"--{name}", SECRET, "x"]) == f"app --{name} {MASK} x"
    for end in ("file", "path", "dir", "url", "uri", "type", "env", "name", "id"):
        assert masked(["app", f"--{word}-{end}", "x"]) == f"app --{word}-{end} x"


@pytest.mark.parametrize(
    "end", ["password", "passwd", "passphrase", "secret", "token", "pwd", "apikey"]
)
def test_ends_of_names_of_secrets(end: str) -> None:
    """Names that are written as one word."""
    assert masked(["app", f"my{end}={SECRET}"]) == f"app my{end}={MASK}"


@pytest.mark.parametrize("scheme", ["Bearer", "basic", "DIGEST", "token"])
def test_schemes_of_authorization(scheme: str) -> None:
    """The scheme is shown; the word behind it is the secret."""
    shown = masked(["curl", "Authorization:", scheme, SECRET, "x"])

    assert shown == f"curl Authorization: {scheme} {MASK} x"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("app password=", "app password="),
        ("app password= x", f"app password= {MASK}"),
        ("app password=' ' y", f"app password={MASK} y"),
        ("app --password --port 1", "app --password --port 1"),
        ("app a=1&token=x&b=2", f"app a=1&token={MASK}&b=2"),
        ("app {token:x,pin:y}", f"app {{token:{MASK},pin:y}}"),
        ("app http://u:p@h http://h", f"app http://{MASK}@h http://h"),
        ("app bearer abcdef0 x", "app bearer abcdef0 x"),
        ("app 'bearer abcdef' x", f"app 'bearer {MASK}' x"),
        ("app 'bearer abcde' x", "app 'bearer abcde' x"),
        (f"app sk-{'a' * 12} sk-{'a' * 11}", f"app {MASK} sk-{'a' * 11}"),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    """All but the secret, with its blanks."""
    assert masked_text(text) == shown


@pytest.mark.parametrize(
    "line",
    [
        "[error] Authorization: Bearer <S>",
        "Cookie: a=1; session=<S>; b=2",
        "> GET /x HTTP/1.1\\r\\nCookie: <S>",
        "SQLSTATE[HY000]: mysql:host=db;user=root;password=<S> refused",
        "could not connect: postgresql://root:<S>@db:5432/app",
        "DATABASE_URL=mysql://root:<S>@db/app is invalid",
        "password = <S>",
        "'password' => '<S>',",
        'level=error msg="{\\"user\\":\\"u\\",\\"password\\":\\"<S>\\"}"',
        '{"level":"error","api_key":"<S>","token":"<S>"}',
        "#0 /var/www/db.php(12): PDO->__construct('mysql:host=db', 'root', '<S>')",
        "GENERATED ROOT PASSWORD: <S>",
        "+ mysql -uroot -p<S> -e 'select 1'",
        "env: APP_SECRET=<S>",
        "redis://:<S>@cache:6379/0 AUTH failed",
        "amqp connect to amqp://guest:<S>@mq:5672//",
        "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7<S>CAE",
        "X-Api-Key: <S>",
        "passwd=<S>",
    ],
)
def test_secrets_in_a_log(line: str) -> None:
    """Neither a header nor a DSN, an array, JSON or a stack trace shows them."""
    assert SECRET not in masked_line(line.replace("<S>", SECRET)), masked_line(
        line.replace("<S>", SECRET)
    )


@pytest.mark.parametrize(
    "line",
    [
        "nginx: [emerg] bind() to 0.0.0.0:8080 failed (98: Address already in use)",
        "Access denied for user 'root'@'localhost' (using password: YES)",
        "PHP Fatal error:  Uncaught Error: Class 'Token' not found in /var/www/a.php:3",
        "Error: listen EADDRINUSE: address already in use :::3000",
        "    at Server.setupListenHandle [as _listen2] (node:net:1817:16)",
        "[28-Nov-2026 10:00:00] ERROR: [/etc/php/fpm.conf:3] value is NULL for a ZEND_INI_PARSER",
        "2026-11-28 10:00:00,123 WARN exited: php-fpm (exit status 78; not expected)",
        'File "/app/main.py", line 3, in <module>',
    ],
)
def test_lines_without_secrets(line: str) -> None:
    """They stay as they are."""
    assert masked_line(line) == line


@pytest.mark.parametrize("line", FORMS)
def test_secrets_that_a_language_or_a_format_marks(line: str) -> None:
    """In a log, and in a command line."""
    line = line.replace("<S>", SECRET)

    assert SECRET not in masked_line(line)
    assert SECRET not in masked_line(f"2026-11-23 10:00:00 app: {line} at end")


@pytest.mark.parametrize(
    "line",
    [
        "unknown entry 'app_key'",
        "npm_config_registry=https://mirror.example/npm/",
        "Usage: app <token> [options]",
        "[auth]: connection refused",
        "define('DB_HOST', 'db')",
        "dial root@tcp(db:3306)/app",
        "<name>app</name>",
    ],
)
def test_a_line_without_a_secret(line: str) -> None:
    """It stays."""
    assert masked_line(line) == line


@pytest.mark.parametrize("piece", ["a.", "a-", "x:", "x=", "password=", "'a", "\\", "://", "a"])
def test_the_costs_of_a_line(piece: str) -> None:
    """They grow with its length only: a program can write any line."""
    check_costs(piece)


@pytest.mark.parametrize(
    "piece",
    [
        *("(", "('a',", "('a','", "<a>", "<a ", "<a>b<", "a:@", "a:@tcp", "[a]=", "a ", "a  ]"),
        *("identified by ", "identified with ", "password '", "npm_a", "/auth: ", "/a/auth:\t"),
    ],
)
def test_the_costs_of_a_line_with_forms(piece: str) -> None:
    """The same, for what a language or a format marks."""
    check_costs(piece)


def check_costs(piece: str) -> None:
    """Check that the costs do not grow with the square of the length."""

    def seconds(length: int) -> float:
        line = piece * (length // len(piece))
        started_s = time.process_time()  # of this process: other processes do not count
        masked_line(line)
        return time.process_time() - started_s

    short_s = min(seconds(2000) for _ in range(5))
    assert min(seconds(16000) for _ in range(5)) < 32 * short_s  # quadratic: 64


@pytest.mark.parametrize(
    "line",
    [
        "/entry.sh: 3: /opt/app/auth: not found",
        "/auth: not found",
        "sh: 1: /usr/local/bin/token: Permission denied",
        "nginx: [emerg] bind() to unix:/run/auth: Address already in use",
        "listen unix /run/secret: bind: address already in use",
        "cannot open '/run/secrets/db_password: No such file'",
    ],
)
def test_a_path_before_a_message(line: str) -> None:
    """The last part of the path is no name of a secret, and the message is no secret."""
    assert masked_line(line) == line


def test_a_name_with_a_slash_that_is_no_path() -> None:
    """In doubt the value is masked."""
    for line in (f"secret/db/password: {SECRET}", f"'/a/password': {SECRET}", f"/p/pwd:{SECRET}"):
        assert SECRET not in masked_line(line)


#: Parts of lines: each name, program and form, and what stands around them.
PIECES = (
    *(f(word) for word in WORDS.split() for f in (str, str.upper, str.title, str.swapcase)),
    *(word for line in OPTIONS.splitlines() for word in line.replace(":", "").split()),
    *(
        *ATTACHED.split(),
        *(line.replace("<S>", SECRET) for line in FORMS),
        "cooKie",
        "identiFied",
        "\u017figned",
        "to\u212aen",
    ),
    *(*"=:'\"/-_.@#(<> \t,;&?x1XÄ", "=>", "://", " by ", "--", "seg", "SEGV", "ing", "Bearer "),
    *("sk-", "ghp_", "github_pat_", "glpat-", "xoxb-", "AKIA", "AIza", "SG.", "whsec_", "eyJ"),
    *("npm_", "hooks.slack.com/services/", "/api/webhooks/", "api.telegram.org/bot"),
    *("signal 11 (SIGSEGV)", "#1 /a.php(2): f('x')", "a" * 60, SECRET, "0123456789abcdef" * 2),
)


@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
def test_a_line_that_cannot_have_a_secret(line: str) -> None:
    """Masking would change nothing of it."""
    if not masking._can_have_secret(line):
        assert masking._masked(line) == line


def test_lines_of_php_fpm_need_no_masking() -> None:
    """A signal is no signature."""
    line = "WARNING: [pool www] child 7 exited on signal 11 (SIGSEGV) after 1.5 seconds from start"
    assert not masking._can_have_secret(line)
