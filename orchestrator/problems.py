"""Refusals, as classes (RFC 9457): what any is, and those of the service itself. Imports nothing, not even Django."""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar


class Problem(Exception):  # noqa: N818  a refusal is not an error of ours
    """A request that is refused, complete when raised: nothing is looked up after it.

    `detail` says what was wrong this time; `members` are the extra members of the problem document;
    `headers` go on the answer; `afterwards` runs in a transaction of its own once the refused one is rolled back.
    """

    status: ClassVar[int]
    slug: ClassVar[str]
    title: ClassVar[str]

    def __init__(
        self,
        detail: str = "",
        *,
        members: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        afterwards: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title + "."
        self.members = dict(members or {})
        self.headers = dict(headers or {})
        self.afterwards = afterwards


class InvalidRequest(Problem):
    """The request is understood but something in it is missing, of the wrong kind, too long or not known.

    `errors` names each field (or query parameter) and says what is wrong with it. A member of the body that is not
    known is refused too, with the nearest known name. Nothing was done; mend the request and send it again.
    """

    status = 400
    slug = "invalid-request"
    title = "The request is not valid"

    def __init__(self, errors: Sequence[tuple[str, str]]) -> None:
        listed = [{"field": field, "message": message} for field, message in errors]
        super().__init__("See errors for what to mend.", members={"errors": listed})


class InvalidJson(Problem):
    """The body is not JSON as RFC 8259 has it, or is JSON that two readers could understand differently.

    Bodies are UTF-8 without a byte order mark. Refused are: duplicate keys, NUL characters, lone surrogates, NaN and
    Infinity, whole numbers beyond ±2^53, more than 32 levels, more than 10,000 values. A number that a double does not
    keep exactly is refused too, such as `90071992547409.921`, `9007199254740993.0` or `1e400`, and so is one of more
    than 400 characters. Send such a number as text.
    """

    status = 400
    slug = "invalid-json"
    title = "The body is not acceptable JSON"


class BadRequest(Problem):
    """The request could not be read as HTTP for this service, for example because of its Host header."""

    status = 400
    slug = "bad-request"
    title = "The request cannot be understood"


class Unauthenticated(Problem):
    """No valid bearer token came with the request. The log says why; the answer does not.

    Send `Authorization: Bearer <token>` with a token that has not expired and was issued for this service. If the
    request had a token, `WWW-Authenticate` says `error="invalid_token"` (RFC 6750, section 3.1): get a new token.
    """

    status = 401
    slug = "unauthenticated"
    title = "A valid bearer token is needed"

    def __init__(self, *, token_sent: bool = False) -> None:
        error = ', error="invalid_token"' if token_sent else ""
        super().__init__(headers={"WWW-Authenticate": f'Bearer realm="orchestrator"{error}'})


class InsufficientUserAuthentication(Problem):
    """The person's login is weaker or older than a decision requires (RFC 9470), or the token does not say.

    `acr_values` lists the accepted levels of a login, the preferred one first; an empty list accepts any level.
    `max_age` is the greatest accepted age of a login in seconds; null accepts any age. Ask the identity provider for a
    new token with the `acr_values` and `max_age` that `WWW-Authenticate` names, and send the request again.
    """

    status = 401
    slug = "insufficient-user-authentication"
    title = "A stronger or more recent login is needed"

    def __init__(self, detail: str = "", *, acr_values: Sequence[str] = (), max_age: int | None = None) -> None:
        challenge = ['Bearer error="insufficient_user_authentication"']
        if acr_values:
            challenge.append(f'acr_values="{" ".join(acr_values)}"')
        if max_age is not None:
            challenge.append(f'max_age="{max_age}"')
        super().__init__(
            detail,
            members={"acr_values": list(acr_values), "max_age": max_age},
            headers={"WWW-Authenticate": ", ".join(challenge)},
        )


class Forbidden(Problem):
    """You are known, but this is not yours to do. A token without a known role or tenant may do nothing.

    Repeating the request will not help; ask for the role that `detail` names.
    """

    status = 403
    slug = "forbidden"
    title = "You may not do that"


class SeparationOfDuties(Problem):
    """The request is your own matter: you requested it, held or hold its task, created it, or an agent did for you.

    `detail` says which. This includes tasks that the task repeats, and identities that are linked with yours. Agents
    and service accounts decide nothing at all. The attempt is recorded. Another person has to decide.
    """

    status = 403
    slug = "separation-of-duties"
    title = "Somebody else has to decide that"


class ClientMayNotDecide(Problem):
    """The token was issued to a client whose tokens may not approve or reject (`OIDC_DECIDING_CLIENTS`).

    A person's token in the hands of an agent must not decide. Decide in the admin, or with a token of a client that the
    service's operator has named. A token with `act` never decides.
    """

    status = 403
    slug = "client-may-not-decide"
    title = "This client may not decide"


class NotFound(Problem):
    """It does not exist, or it is not yours to see: the two look the same on purpose."""

    status = 404
    slug = "not-found"
    title = "There is no such thing, or it is not yours to see"


class MethodNotAllowed(Problem):
    """The path exists but does not take this method. The `Allow` header lists those it takes."""

    status = 405
    slug = "method-not-allowed"
    title = "This path does not take that method"


class InFlight(Problem):
    """The first request with this `Idempotency-Key` is still running. It alone has the effect.

    Wait as long as `Retry-After` says and send the same request again: it then gets the first one's answer.
    """

    status = 409
    slug = "request-in-flight"
    title = "The first request with this key is still running"

    def __init__(self) -> None:
        super().__init__(members={"retry_after": 1}, headers={"Retry-After": "1"})


class StoredAnswerInvalid(Problem):
    """The stored answer to this `Idempotency-Key` was not written by the service, or was changed since.

    The first request with the key may have had its effect, so it is not repeated, and the stored answer is not given.
    Nothing was done now. Read the resource to see whether the effect is there, and tell the operator of the service.
    A new key is a new request.
    """

    status = 409
    slug = "stored-answer-invalid"
    title = "The stored answer is not authentic"


class PreconditionFailed(Problem):
    """The row has moved on since you read it: `If-Match` names another version than `current_version`.

    Read it again, decide again, and send the new version. `If-None-Match: *` is refused on every write to a row that
    exists.
    """

    status = 412
    slug = "precondition-failed"
    title = "The row has moved on"

    def __init__(self, current_version: int) -> None:
        detail = f"The current version is {current_version}."
        super().__init__(detail, members={"current_version": current_version})


class BodyTooLarge(Problem):
    """The body is larger than the service takes (`MAX_BODY_BYTES`, 1 MiB unless set). It was not read."""

    status = 413
    slug = "body-too-large"
    title = "The body is too large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"A body may have {limit} bytes.", members={"limit": limit})


class AnswerTooLarge(Problem):
    """The rows of the answer hold more bytes than one answer may (4 MiB). `limit` is that number.

    Ask for fewer: a smaller `page_size`, fewer parts in `include`, or the rows one by one.
    """

    status = 413
    slug = "answer-too-large"
    title = "The answer would be too large"

    def __init__(self, limit: int, advice: str) -> None:
        super().__init__(f"An answer may hold {limit} bytes. {advice}", members={"limit": limit})


class UnsupportedMediaType(Problem):
    """Bodies are `application/json` in UTF-8; PATCH also takes `application/merge-patch+json`.

    Compressed bodies are refused too: send the body without a `Content-Encoding`.
    """

    status = 415
    slug = "unsupported-media-type"
    title = "Bodies are application/json"


class KeyMismatch(Problem):
    """This `Idempotency-Key` was used for another request: another method, path, query, `If-Match`, `Prefer` or
    body.

    Nothing was done. Use a new key for a new request.
    """

    status = 422
    slug = "idempotency-key-mismatch"
    title = "This key was used for another request"


class TooManyRequests(Problem):
    """You call more often than you may, have as many exports at once as you may, or your address failed to authenticate
    too often.

    Wait as long as `Retry-After` says (`retry_after`, in seconds). `RateLimit` and `RateLimit-Policy` tell on every
    answer what is left.
    """

    status = 429
    slug = "too-many-requests"
    title = "Too many requests"

    def __init__(self, retry_after: int, headers: Mapping[str, str], detail: str = "") -> None:
        members = {"retry_after": retry_after}
        super().__init__(detail, members=members, headers={"Retry-After": str(retry_after), **headers})


class QuotaExceeded(Problem):
    """Your tenant has as much at once as it may have: open sessions, pending tasks or held leases, as `quota` says.

    Let some end, or ask the operator for a higher quota. `limit` is how many there may be. The count is taken again
    every few seconds: wait as long as `Retry-After` says (`retry_after`, in seconds).
    """

    status = 429
    slug = "quota-exceeded"
    title = "Quota exceeded"

    def __init__(self, quota: str, limit: int, retry_after: int) -> None:
        super().__init__(
            f"The quota {quota} is {limit}.",
            members={"quota": quota, "limit": limit, "retry_after": retry_after},
            headers={
                "Retry-After": str(retry_after),
                "RateLimit-Policy": f'"{quota}";q={limit}',
                "RateLimit": f'"{quota}";r=0;t={retry_after}',
            },
        )


class InternalError(Problem):
    """A fault of ours. It is logged under the `request_id` of the answer; nothing was changed."""

    status = 500
    slug = "internal-error"
    title = "Something went wrong on our side"


class ServiceUnavailable(Problem):
    """Something the service stands on, most often its database, is away or busy for the moment.

    Wait as long as `Retry-After` says (`retry_after`, in seconds) and send the same request again.
    """

    status = 503
    slug = "service-unavailable"
    title = "The service is not available for the moment"

    def __init__(self, detail: str = "", *, retry_after: int = 1) -> None:
        members = {"retry_after": retry_after}
        super().__init__(detail, members=members, headers={"Retry-After": str(retry_after)})


class DatabaseStale(ServiceUnavailable):
    """The database that answered was replaced by another one, and the service refuses to read or write it.

    A standby was promoted, or a dump was restored, and the former primary is back without protection. Nothing was done.
    Wait as long as `Retry-After` says (`retry_after`, in seconds) and send the same request again. An operator has to
    stop the former primary.
    """

    slug = "database-stale"
    title = "The database was replaced by another"

    def __init__(self) -> None:
        super().__init__("The database that answered is a former primary. It is not used.", retry_after=2)
