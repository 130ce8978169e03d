"""What the command says when it cannot do what it is asked."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from demo.__main__ import main
from demo.site_files import PortError, choose_ports, clear, write, write_state


def test_a_port_in_use_is_named_with_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status = main(["--folder", str(tmp_path / "demo"), "--dashboard-port", str(port)])
    said = capsys.readouterr().err
    assert status == 69
    assert f"port {port} (dashboard) is taken" in said
    assert "--dashboard-port" in said


def test_ports_are_all_different_and_all_free():
    ports = choose_ports(dict.fromkeys(("dashboard", "page_opcua", "page_modbus"), 0))
    numbers = [getattr(ports, name) for name in ports.__dataclass_fields__]
    assert len(set(numbers)) == len(numbers)


def test_one_port_asked_for_twice_is_an_error():
    free = choose_ports(dict.fromkeys(("dashboard", "page_opcua", "page_modbus"), 0)).dashboard
    with pytest.raises(PortError):
        choose_ports({"dashboard": free, "page_opcua": free, "page_modbus": 0})


@pytest.mark.parametrize("command", ["cut", "heal", "status"])
def test_without_a_demo_the_switch_says_so(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main([command, "--folder", str(tmp_path)]) == 69
    assert "start one with" in capsys.readouterr().err


def test_a_plant_slower_than_the_wall_clock_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["--folder", str(tmp_path), "--speed", "0.5"])
    assert "--speed is 1 or more" in capsys.readouterr().err


def test_a_stale_state_file_of_a_process_that_is_gone_stops_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    ports = choose_ports(dict.fromkeys(("dashboard", "page_opcua", "page_modbus"), 0))
    write_state(tmp_path, ports, 2**22 + os.getpid(), {"cloud": os.getpid()})
    assert main(["status", "--folder", str(tmp_path)]) == 69
    assert "none runs" in capsys.readouterr().err


def test_beginning_anew_removes_what_the_demo_made_and_nothing_else(tmp_path: Path):
    write(tmp_path, choose_ports(dict.fromkeys(("dashboard", "page_opcua", "page_modbus"), 0)), 1.0)
    (tmp_path / "gw-opcua").mkdir()
    (tmp_path / "gw-opcua" / "edge.db").touch()
    (tmp_path / "my thesis.txt").write_text("years of work")
    clear(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["my thesis.txt"]
