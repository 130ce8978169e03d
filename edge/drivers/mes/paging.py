"""Asking a MES over HTTP: pages, ETags, retries, and a sentence for every way it can go wrong."""

from __future__ import annotations

import asyncio
import random
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, NoReturn, cast

import httpx
import msgspec

from edge.connections import Mes
from edge.drivers.driver import DriverError, DriverHealth, Surroundings
from sync.clock import Clock

REQUEST_S: Final = 4.0
"""Connecting, and each wait for more of an answer."""
ANSWER_S: Final = 30.0
"""A whole answer, however slowly it drips."""
MOST_PAGES: Final = 500
MOST_BYTES: Final = 32 << 20
"""Of all pages of one resource, unpacked."""
LARGE_BYTES: Final = 1 << 18
"""An answer so large is decoded in a thread: the lines must not wait for it."""
MOST_WAIT_S: Final = 10.0
"""Longest Retry-After we wait for ourselves; a longer one is the host's to wait."""
AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers that may be others in a moment."""


class UnauthorizedError(DriverError):
    """The MES does not know us, or not well enough. Check the credential."""


class MissingError(DriverError):
    """The MES has no such resource, or none for us."""


@dataclass(frozen=True, slots=True)
class _Page:
    url: str
    etag: str
    following: str


class MesHttp:
    """One MES's HTTP face. Every method raises DriverError with a sentence; nothing but GET is ever repeated."""

    def __init__(self, config: Mes, clock: Clock, around: Surroundings, health: DriverHealth) -> None:
        """Prepare, without connecting. Raises SecretError."""
        self.server_time: int | None = None
        """The MES's own clock as of its last answer, ns (whole seconds); None when it does not say."""
        self._config, self._clock, self._health = config, clock, health
        self._around = around
        self._pages: dict[str, list[_Page]] = {}
        """Resource → its pages as of the last answer."""
        headers = {"accept": "application/json"}
        basic = None
        if config.token is not None:
            headers["authorization"] = f"Bearer {config.token.read(around.folder).get_secret_value()}"
        elif config.user is not None and config.password is not None:
            basic = httpx.BasicAuth(config.user, config.password.read(around.folder).get_secret_value())
        secure = config.url.startswith("https://")
        spoken = config.token is not None or config.user is not None
        plain = "plain HTTP: the credential travels unprotected" if spoken else "plain HTTP"
        health.notes["security"] = "TLS" if secure else plain
        self._base = config.url.rstrip("/")
        # No proxy from the environment: a plant's MES is on the plant's network.
        self._open = lambda: httpx.AsyncClient(
            headers=headers, auth=basic, timeout=REQUEST_S, verify=self._trust(), trust_env=False
        )
        self._client: httpx.AsyncClient | None = None

    def _trust(self) -> ssl.SSLContext:
        if not self._base.startswith("https://"):
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody, and costs nothing to make
        if self._config.ca is None:
            return ssl.create_default_context()
        path = self._around.folder / self._config.ca
        try:
            return ssl.create_default_context(cafile=str(path))
        except (OSError, ssl.SSLError) as error:
            raise self.lost(f"cannot read the CA certificate {path} ({error}); check `ca`, it must be PEM") from error

    @property
    def _http(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = self._open()
        return self._client

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def rows(self, path: str, work_unit: str | None = None, *, remember: bool = True) -> list[object] | None:
        """Give all rows of a resource, over all its pages, or None when every page is as it was.

        remember: keep the ETags, so that the next call may give None.
        """
        key = path if work_unit is None else f"{path}?{work_unit}"
        params = {} if work_unit is None else {"work_unit": work_unit}
        known = self._pages.get(key, [])
        began: httpx.Response | None = None
        if remember and known and all(page.etag for page in known):
            for i, page in enumerate(known):
                answer = await self._get(path, page.url, page.etag)
                if answer.status_code != 304:
                    began = answer if i == 0 else None
                    break
            else:
                return None
        found: list[object] = []
        read: list[_Page] = []
        size = 0
        url = str(httpx.URL(f"{self._base}{path}", params=params))
        while url:
            if len(read) >= MOST_PAGES:
                raise self.lost(f"{path}: more than {MOST_PAGES} pages; let the MES give larger pages or fewer rows")
            answer, began = began or await self._get(path, url), None
            size += len(answer.content)
            if size > MOST_BYTES:
                raise self._too_much(path)
            items, following = await self._page(path, answer)
            found += items
            read.append(_Page(url, answer.headers.get("etag", ""), following))
            url = following
            if any(page.url == url for page in read):
                raise self.lost(
                    f"{path}: page {len(read)} leads back to a page before it ({url}); check the MES's paging"
                )
        if remember:
            self._pages[key] = read
        return found

    def forget(self, path: str, work_unit: str | None = None) -> None:
        """Ask for a resource anew next time, whatever its ETag."""
        self._pages.pop(path if work_unit is None else f"{path}?{work_unit}", None)

    async def _page(self, path: str, answer: httpx.Response) -> tuple[list[object], str]:
        """Give the rows of a page and the address of the next; empty when it is the last."""
        try:
            body = answer.content
            large = len(body) > LARGE_BYTES
            content: Any = await asyncio.to_thread(msgspec.json.decode, body) if large else msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self.lost(f"{path}: not the agreed JSON: {error}; check the version of the MES interface") from error
        following: object = answer.links.get("next", {}).get("url")
        if isinstance(content, list):
            items = cast("list[object]", content)
        elif isinstance(content, dict) and isinstance(cast("dict[str, object]", content).get("items"), list):
            page = cast("dict[str, Any]", content)
            items = cast("list[object]", page["items"])
            following = page.get("next") or following
        else:
            items = [cast("object", content)]
        if not following:
            return items, ""
        url = answer.url.join(str(following))
        if (url.scheme, url.host, url.port) != (answer.url.scheme, answer.url.host, answer.url.port):
            raise self.lost(f"{path}: the next page is at {url.host}, another server; our credential does not go there")
        return items, str(url)

    async def _get(self, path: str, url: str, etag: str = "") -> httpx.Response:
        """Give a good answer (200 or, with an ETag, 304), asking again when that may help."""
        headers = {"if-none-match": etag} if etag else {}
        attempt = 0
        while True:
            why, wait_s = "", 0.0
            error: Exception | None = None
            try:
                answer = await self._once("GET", path, url, headers)
            except httpx.TimeoutException as timeout:
                why, error = f"no answer within {REQUEST_S:g} s; check the MES and the network", timeout
            except TimeoutError as timeout:
                why, error = f"no whole answer within {ANSWER_S:g} s; check the MES and the network", timeout
            except httpx.HTTPError as broken:
                why, error = _broken(broken), broken
            else:
                if answer.status_code not in AGAIN:
                    if answer.status_code != 200 and not (etag and answer.status_code == 304):
                        self._refused(path, answer)
                    return answer
                wait_s = self._retry_after_s(answer)
                asks = f" and asks us to wait {wait_s:g} s" if wait_s else ""
                why = f"the MES answers {answer.status_code}{asks}; check the MES's own log"
            if attempt >= self._config.retries or wait_s > MOST_WAIT_S:
                raise self.lost(f"{path}: {why}") from error
            limit = 0.2 * 2**attempt
            await self._clock.sleep(max(wait_s, random.uniform(limit / 2, limit)))  # noqa: S311 - spreading, not a secret
            attempt += 1

    async def _once(
        self, method: str, path: str, url: str, headers: dict[str, str], content: bytes | None = None
    ) -> httpx.Response:
        """Ask once, and take no more of the answer than is reasonable."""
        self._health.requests += 1
        body = bytearray()
        async with (
            asyncio.timeout(ANSWER_S),
            self._http.stream(method, url, headers=headers, content=content) as answer,
        ):
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > MOST_BYTES:
                    raise self._too_much(path)
        self.server_time = _time_of(answer)
        kept = {
            name: value for name, value in answer.headers.items() if name not in {"content-encoding", "content-length"}
        }
        return httpx.Response(answer.status_code, headers=kept, content=bytes(body), request=answer.request)

    def _refused(self, path: str, answer: httpx.Response) -> NoReturn:
        match answer.status_code:
            case 401:
                raise UnauthorizedError(
                    self._text(f"{path}: 401, the MES does not know us; check the connection's token or password")
                )
            case 403:
                raise UnauthorizedError(
                    self._text(f"{path}: 403, the MES refuses us; our token or user may not read this")
                )
            case 404 | 405 | 410 | 501 as code:
                raise MissingError(
                    self._text(f"{path}: {code}, no such resource; check the url, it must end before /api")
                )
            case code if 300 <= code < 400:
                target = answer.headers.get("location", "elsewhere")
                raise self.lost(f"{path}: {code}, the MES has moved to {target}; set the connection's url to it")
            case code:
                raise self.lost(f"{path}: the MES answers {code}; check the MES's own log")

    async def put(self, path: str, content: bytes) -> httpx.Response:
        """Put once, and give the answer whatever it is."""
        try:
            return await self._once("PUT", path, f"{self._base}{path}", {"content-type": "application/json"}, content)
        except (httpx.TimeoutException, TimeoutError) as error:
            raise self.lost(f"{path}: no answer within {REQUEST_S:g} s; check the MES and the network") from error
        except httpx.HTTPError as error:
            raise self.lost(f"{path}: {_broken(error)}") from error

    def _retry_after_s(self, answer: httpx.Response) -> float:
        """Give how long the MES asks us to wait (RFC 9110, 10.2.3: seconds or a date); 0 when it does not say."""
        text = answer.headers.get("retry-after", "").strip()
        if text.isascii() and text.isdigit():
            return float(text)
        try:
            when = parsedate_to_datetime(text)
        except (ValueError, TypeError):
            return 0.0
        base = self.server_time if self.server_time is not None else self._clock.now()
        return max(0.0, _aware(when).timestamp() - base / 1e9)

    def _too_much(self, path: str) -> DriverError:
        return self.lost(f"{path}: more than {MOST_BYTES >> 20} MiB; let the MES give fewer rows")

    def lost(self, why: str) -> DriverError:
        return DriverError(self._text(why))

    def _text(self, why: str) -> str:
        return f"{self._config.name} ({self._config.url}): {why}"


def _broken(error: httpx.HTTPError) -> str:
    text = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return f"the MES's certificate is not trusted ({text}); check `ca` and the name in the url"
    return f"{text}; check the url and that the MES runs"


def _time_of(answer: httpx.Response) -> int | None:
    try:
        return round(_aware(parsedate_to_datetime(answer.headers["date"])).timestamp()) * 1_000_000_000
    except (KeyError, ValueError, TypeError):
        return None


def _aware(when: datetime) -> datetime:
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)
