"""Who may ask: Mage's API key, its log-in, and both ways to send the token."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any

from fakes.messages import ApiError, UncaughtError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fakes.databases import SQLite
    from fakes.messages import Request
    from fakes.versions import Version

PUBLIC_API_KEY = "zkWlN0PkIKSN0C11CfUHUj84OT5XOJ6tDZ6bDRO2"
"""Every open-source Mage server has it (API overview, "Examples")."""

PROJECT_ACCESS = {"owner": 1, "editor": 4, "viewer": 8, "nobody": 0}


class DecodeError(Exception):
    """PyJWT's, by name."""

    __module__ = "jwt.exceptions"


class InvalidSignatureError(DecodeError):
    """PyJWT's, by name."""

    __module__ = "jwt.exceptions"


@dataclass
class Account:
    """
    The server's one user and its sessions.

    :param role: ``owner``, ``editor``, ``viewer`` or ``nobody``, in the project.
    :param pipeline_roles: The user's roles in single pipelines, which count instead there.
    :param token_lifetime: ``MAGE_ACCESS_TOKEN_EXPIRY_TIME``; 30 days by default.
    """

    email: str
    username: str
    password: str
    api_key: str
    role: str
    token_lifetime: timedelta
    clock: Callable[[], datetime]
    database: SQLite
    pipeline_roles: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.expiry_of: dict[str, datetime] = {}
        self.log_ins: list[str] = []
        self.not_found_message = "Record not found."
        self._secret = secrets.token_bytes(32)

    def not_found(self) -> ApiError:
        """Return the 404 of every missing record, with whatever text the last log-in left in it."""
        return ApiError(404, self.not_found_message, "record_not_found")

    def log_in(self, session: dict[str, Any], *, authentication: bool) -> dict[str, Any]:
        """
        Answer ``POST /sessions``; without authentication there is no user, so any password is wrong.

        :raises ApiError: 404 if it is not this user. Even a good log-in changes the text of all later 404s.
        """
        email, username, password = (session.get(name) for name in ("email", "username", "password"))
        self.not_found_message = "Email/username and/or password invalid."
        if not (email or username) or not password:
            self.not_found_message = "Email/username and password are required."
            raise self.not_found()
        is_user = email == self.email if email else username == self.username
        if not authentication or not is_user or password != self.password:
            raise self.not_found()
        token, expires = secrets.token_urlsafe(), self.clock() + self.token_lifetime
        self.expiry_of[token] = expires
        self.log_ins.append(token)
        return {
            "expires": str(self.database.date(expires)),
            "token": self._encode(token, expires),
            "user": self._user(),
        }

    def check(self, request: Request, version: Version) -> bool:
        """
        Do what Mage's middleware does before it looks at the request itself.

        :return: Whether a user is logged in.
        :raises ApiError: 401 for a bad key, or a token that is unknown or too old, even if the request is a
            log-in.
        :raises UncaughtError: If the cookie holds no JWT of this server's.
        """
        if self._api_key(request) != self.api_key:
            code = version.invalid_api_key_code
            raise ApiError(code, "Invalid API key.", "invalid_api_key", http_status=code)
        token = self._token(request)
        if token is None:
            return False
        if token not in self.expiry_of:
            raise ApiError(401, "Invalid OAuth token.", "invalid_oauth_token", http_status=401)
        if self.clock() >= self.expiry_of[token]:
            raise ApiError(401, "Expired OAuth token.", "expired_oauth_token", http_status=401)
        return True

    def _api_key(self, request: Request) -> Any:
        """Return the key: from the header, else from the body of a POST that has one, else from the query."""
        key: Any = request.headers.get("x-api-key")
        if key:
            return key
        if request.method == "POST":
            try:
                return json.loads(request.body).get("api_key")
            except ValueError:
                pass
        return request.first("api_key")

    def _token(self, request: Request) -> str | None:
        header = request.headers.get("oauth-token")
        if header:
            return header
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        if scheme == "Bearer":
            return bearer
        cookie = SimpleCookie(request.headers.get("cookie", "")).get("oauth_token")
        return self._decode(cookie.value) if cookie else None

    def _encode(self, token: str, expires: datetime) -> str:
        seconds = expires.replace(tzinfo=timezone.utc).timestamp()
        parts = ({"alg": "HS256", "typ": "JWT"}, {"expires": seconds, "token": token})
        signed = ".".join(_base64(json.dumps(part, separators=(",", ":")).encode()) for part in parts)
        return f"{signed}.{self._signature(signed)}"

    def _decode(self, jwt: str) -> str:
        signed, _, signature = jwt.rpartition(".")
        if "." not in signed:
            raise UncaughtError(DecodeError("Not enough segments"))
        if not hmac.compare_digest(signature, self._signature(signed)):
            raise UncaughtError(InvalidSignatureError("Signature verification failed"))
        payload = signed.partition(".")[2]
        token: str = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["token"]
        return token

    def _signature(self, signed: str) -> str:
        return _base64(hmac.new(self._secret, signed.encode(), hashlib.sha256).digest())

    def _user(self) -> dict[str, Any]:
        now = str(self.database.stamp(self.clock(), self.clock()))
        return {
            "avatar": None,
            "first_name": None,
            "id": 1,
            "last_name": None,
            "owner": self.role == "owner",
            "project_access": PROJECT_ACCESS[self.role],
            "roles": None,
            "roles_display": "Owner" if self.role == "owner" else None,
            "roles_new": [
                {"name": self.role.title(), "user_id": None, "id": 1, "created_at": now, "updated_at": now}
            ],
            "username": self.username,
        }


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
