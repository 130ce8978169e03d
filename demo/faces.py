"""What the demo asks of its running parts over HTTP; nothing here changes a number."""

from __future__ import annotations

from typing import Any

import httpx

from demo.site_files import Ports


class Faces:
    """The HTTP faces of a running demo; every method raises httpx.TransportError while the part is down."""

    def __init__(self, ports: Ports, http: httpx.AsyncClient) -> None:
        self.ports, self._http = ports, http
        self._pages = {"gw-opcua": ports.page_opcua, "gw-modbus": ports.page_modbus}

    async def _get(self, port: int, path: str) -> Any:
        answer = await self._http.get(f"http://127.0.0.1:{port}{path}")
        answer.raise_for_status()
        return answer.json()

    async def _post(self, port: int, path: str, body: object) -> Any:
        answer = await self._http.post(f"http://127.0.0.1:{port}{path}", json=body)
        answer.raise_for_status()
        return answer.json()

    async def gateway(self, name: str) -> dict[str, Any]:
        """Give a gateway's own status."""
        return await self._get(self._pages[name], "/api/status")

    async def overview(self) -> dict[str, Any]:
        """Give the cloud's overview."""
        return await self._get(self.ports.dashboard, "/api/v1/overview")

    async def counters(self) -> dict[str, dict[str, Any]]:
        """Give the plant's true counters: work unit → totals."""
        return (await self._get(self.ports.plant, "/counters"))["lines"]

    async def plant(self) -> dict[str, Any]:
        return await self._get(self.ports.plant, "/status")

    async def produce(self, *, on: bool) -> None:
        await self._post(self.ports.plant, "/production", {"on": on})

    async def link(self) -> dict[str, Any]:
        return await self._get(self.ports.link_control, "/link")

    async def cut(self, *, cut: bool) -> dict[str, Any]:
        return await self._post(self.ports.link_control, "/link", {"cut": cut})
