"""Reading settings from the environment: typed, refusing, silent about secrets."""

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from django.core.exceptions import ImproperlyConfigured
from psycopg import IsolationLevel

from orchestrator import env

NAME = "ORCHESTRATOR_TEST_SETTING"
SECRET = "hunter2-correct-horse"

Reader = Callable[[], Any]


def text() -> Any:
    return env.text(NAME)


def choice() -> Any:
    return env.choice(NAME, ("red", "green"), "red")


def flag() -> Any:
    return env.flag(NAME, False)


def whole() -> Any:
    return env.whole(NAME, 5, 1, 100)


def seconds() -> Any:
    return env.seconds(NAME, 5)


def names() -> Any:
    return env.names(NAME, ("a", "b"))


def url() -> Any:
    return env.url(NAME)


def folder() -> Any:
    return env.place(NAME, Path("/var/lib/x"))


def origin() -> Any:
    return env.origin(NAME, "example.org/log")


def secret() -> Any:
    return env.secret(NAME)


def database() -> Any:
    return env.database(NAME)


PATIENCE = {
    "connect_timeout": "3",
    "keepalives": "1",
    "keepalives_idle": "4",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(NAME, raising=False)
    monkeypatch.delenv(f"{NAME}_FILE", raising=False)


def refusal_of(reader: Reader) -> str:
    """What a refusal says. Everything that a traceback would show is free of the secret."""
    with pytest.raises(ImproperlyConfigured) as refusal:
        reader()
    assert SECRET not in "".join(traceback.format_exception(refusal.value))
    assert NAME in str(refusal.value)
    return str(refusal.value)


@pytest.mark.parametrize(
    ("reader", "value", "read"),
    [
        (text, " as it stands ", "as it stands"),
        (choice, "GREEN", "green"),
        *((flag, word, True) for word in ("1", "true", "YES", "On")),
        *((flag, word, False) for word in ("0", "False", "no", "OFF")),
        *((whole, word, int(word)) for word in ("1", "100", "007")),
        (seconds, "31536000", 31_536_000),
        (names, " a, b ,,c", ("a", "b", "c")),
        (names, ",", ()),
        (url, "https://id.example:8443/realms/dev", "https://id.example:8443/realms/dev"),
        (folder, "/srv/../srv/x", Path("/srv/x")),
        (origin, " audit.example.org/seals ", "audit.example.org/seals"),
        (folder, "relative", Path.cwd() / "relative"),
        (secret, SECRET, SECRET),
    ],
)
def test_reads_what_is_set(monkeypatch: pytest.MonkeyPatch, reader: Reader, value: str, read: Any) -> None:
    monkeypatch.setenv(NAME, value)
    assert reader() == read


@pytest.mark.parametrize("value", [None, "", "  "])
@pytest.mark.parametrize(
    ("reader", "default"),
    [(choice, "red"), (flag, False), (whole, 5), (seconds, 5), (names, ("a", "b")), (folder, Path("/var/lib/x"))],
)
def test_falls_back_to_the_default_where_nothing_is_set(
    monkeypatch: pytest.MonkeyPatch, reader: Reader, default: Any, value: str | None
) -> None:
    if value is not None:
        monkeypatch.setenv(NAME, value)
    assert reader() == default


@pytest.mark.parametrize("value", [None, "", "  "])
@pytest.mark.parametrize("reader", [text, url, secret, database])
def test_refuses_where_nothing_is_set_and_there_is_no_default(
    monkeypatch: pytest.MonkeyPatch, reader: Reader, value: str | None
) -> None:
    if value is not None:
        monkeypatch.setenv(NAME, value)
    assert refusal_of(reader).endswith("must be set.")


@pytest.mark.parametrize(
    ("reader", "value", "told"),
    [
        (choice, "blue", "must be one of red, green, not 'blue'"),
        (flag, "maybe", "must be true or false, not 'maybe'"),
        (flag, "2", "must be true or false"),
        *(
            (whole, word, "must be a whole number from 1 to 100")
            for word in ("0", "101", "-1", "1.5", "1e2", "ten", "٣")
        ),
        (whole, "9" * 5000, "must be a whole number from 1 to 100"),
        (seconds, "0", "must be a whole number from 1 to 31536000"),
        (seconds, "5s", "must be a whole number"),
        *((origin, word, "without spaces, + and scheme") for word in ("a b", "a+b", "https://a/b", "ä", "a" * 201)),
        *((url, word, "must be an http or https address") for word in ("id.example", "ftp://id.example", "https://")),
        *((url, word, "must be an http or https address") for word in ("javascript:alert(1)", "http:///path")),
        *((url, word, "must be an http or https address") for word in ("http://[::1", "https://[x]/")),
    ],
)
def test_refuses_what_it_cannot_use(monkeypatch: pytest.MonkeyPatch, reader: Reader, value: str, told: str) -> None:
    monkeypatch.setenv(NAME, value)
    assert told in refusal_of(reader)


@pytest.mark.parametrize("value", [f"redis://:{SECRET}@cache:6379", f"//admin:{SECRET}@id.example"])
def test_an_address_that_is_refused_is_not_repeated_with_what_it_may_hold(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv(NAME, value)
    assert "must be an http or https address" in refusal_of(url)


def test_reads_a_secret_from_the_file_that_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"  {SECRET}\n")
    monkeypatch.setenv(f"{NAME}_FILE", str(tmp_path / "secret"))
    assert secret() == SECRET


def test_reads_a_secret_from_the_fallback_only_where_nothing_is_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fallback = tmp_path / "fallback"
    with pytest.raises(ImproperlyConfigured):
        env.secret(NAME, fallback)
    fallback.write_text("from the fallback")
    assert env.secret(NAME, fallback) == "from the fallback"
    (tmp_path / "named").write_text("from the named file")
    monkeypatch.setenv(f"{NAME}_FILE", str(tmp_path / "named"))
    assert env.secret(NAME, fallback) == "from the named file"
    monkeypatch.delenv(f"{NAME}_FILE")
    monkeypatch.setenv(NAME, "from the variable")
    assert env.secret(NAME, fallback) == "from the variable"


def redis_url() -> Any:
    return env.redis_url(NAME)


@pytest.mark.parametrize(
    "value",
    [
        *("redis://localhost", "redis://cache:6380/2", "rediss://cache/0", "redis://[::1]:6379"),
        *(f"redis://:{SECRET}@cache:6379/0", f"rediss://me:{SECRET}@cache?ssl_cert_reqs=none&db=3"),
        *("unix:///run/redis.sock", "unix:///run/redis.sock?db=1"),
    ],
)
def test_reads_an_address_of_redis(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(NAME, value)
    assert redis_url() == value


def test_there_need_be_no_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    assert redis_url() == ""
    monkeypatch.setenv(NAME, "  ")
    assert redis_url() == ""


@pytest.mark.parametrize(
    "value",
    [
        *("localhost", "localhost:6379", "http://cache", "redis://", "redis:///0", "unix://", "redis://cache:port"),
        *("redis://cache:99999", "redis://[::1", "redis://cache?nonsense=1", "redis://cache?ssl_nonsense=1"),
        *("redis://cache?socket_timeout=5", "redis://cache?decode_responses=1", f"redis://:{SECRET}@cache?db=one"),
        f"cache:{SECRET}",
    ],
)
def test_refuses_an_address_of_redis_that_could_not_be_asked(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(NAME, value)
    assert "must be a redis://, rediss:// or unix:// address" in refusal_of(redis_url)


def test_refuses_a_secret_that_is_set_twice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    monkeypatch.setenv(NAME, SECRET)
    assert secret() == SECRET
    monkeypatch.setenv(f"{NAME}_FILE", str(tmp_path / "secret"))
    assert "both set" in refusal_of(secret)


@pytest.mark.parametrize(
    ("content", "told"), [(None, "cannot be read"), (b" \n", "is empty"), (SECRET.encode() + b"\xff", "cannot be read")]
)
def test_refuses_a_file_that_holds_no_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, told: str
) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv(f"{NAME}_FILE", str(path))
    assert told in refusal_of(secret)


def test_reads_a_database_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, f"postgresql://user:{SECRET}%21@db.example:5433/work?sslmode=require")
    entry = database()
    assert entry["ENGINE"] == "django.db.backends.postgresql"
    assert (entry["HOST"], entry["PORT"], entry["NAME"], entry["USER"]) == ("db.example", "5433", "work", "user")
    assert entry["PASSWORD"] == f"{SECRET}!"
    assert entry["OPTIONS"] == {**PATIENCE, "isolation_level": IsolationLevel.READ_COMMITTED, "sslmode": "require"}


def test_reads_a_database_address_on_a_socket_and_its_own_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {name: str(int(value) + 7) for name, value in PATIENCE.items()}
    monkeypatch.setenv(NAME, f"postgres:///work?host=/run/postgresql&{urlencode(own)}")
    assert database()["HOST"] == "/run/postgresql"
    assert database()["OPTIONS"] == {**own, "isolation_level": IsolationLevel.READ_COMMITTED}


def test_the_isolation_of_transactions_is_not_the_address_s_to_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "postgresql:///work?isolation_level=serializable")
    assert "must be a postgresql:// address" in refusal_of(database)


@pytest.mark.parametrize(
    "value",
    [
        f"mysql://user:{SECRET}@db/work",
        f"postgresql://user:{SECRET}@db",
        f"postgresql://user:{SECRET}@db/work?colour=red",
        f"postgresql://user:{SECRET}@[db/work",
        f"host=db dbname=work password={SECRET}",
        f"user:{SECRET}@db/work",
        SECRET,
    ],
)
def test_refuses_a_database_address_without_repeating_it(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(NAME, value)
    assert "must be a postgresql:// address that names a database" in refusal_of(database)
