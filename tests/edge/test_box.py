from __future__ import annotations

from pathlib import Path

import pytest

from edge.box import box_id


def machine(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def card(folder: Path, name: str, address: str, *, assigned: str = "0", device: bool = True) -> None:
    where = folder / "sys/class/net" / name
    (where / "device" if device else where).mkdir(parents=True)
    (where / "address").write_text(address + "\n")
    (where / "addr_assign_type").write_text(assigned + "\n")


def test_the_board_decides_then_a_network_card_then_the_system(tmp_path: Path):
    ids = [box_id(machine(tmp_path, **{"etc__machine-id": "a" * 32}))]
    card(tmp_path, "lo", "00:00:00:00:00:00")
    card(tmp_path, "docker0", "02:42:00:00:00:01", device=False)
    card(tmp_path, "wlan0", "02:00:00:00:00:02", assigned="3")  # drawn anew at every start
    assert box_id(tmp_path) == ids[0]
    card(tmp_path, "eth1", "B8:27:EB:00:00:02")
    ids.append(box_id(tmp_path))
    machine(tmp_path, **{"sys__firmware__devicetree__base__serial-number": "100000001\0"})
    ids.append(box_id(tmp_path))
    machine(tmp_path, sys__class__dmi__id__product_uuid="4C4C4544-0001\n")
    ids.append(box_id(tmp_path))
    assert len(set(ids)) == 4
    assert all(len(one) == 32 and set(one) <= set("0123456789abcdef") for one in ids)
    assert not any("100000001" in one or "4c4c4544" in one for one in ids)


def test_another_card_beside_it_is_no_other_box_but_a_copied_disk_is_one(tmp_path: Path):
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        machine(folder, **{"etc__machine-id": "a" * 32})
    card(here, "eth0", "b8:27:eb:00:00:01")
    card(there, "eth0", "b8:27:eb:00:00:09")
    alone = box_id(here)
    assert alone != box_id(there)
    card(here, "usb0", "ff:27:eb:00:00:01")
    assert box_id(here) == alone


def test_where_nothing_can_be_read_nothing_is_claimed(tmp_path: Path):
    assert box_id(tmp_path) == ""


@pytest.mark.parametrize("time", range(2))
def test_this_machine_says_the_same_every_time(time: int):
    assert box_id() == box_id()
