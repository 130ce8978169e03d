"""The `triflow` command as people type it: right words, wrong words, wrong files, a missing part."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import free_port

ROOT = Path(__file__).parent.parent


def triflow(*words: str, before: str = "") -> subprocess.CompletedProcess[str]:
    code = f"import sys\n{before}\nimport triflow\nsys.argv = ['triflow', *{words!r}]\nsys.exit(triflow.main())"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )


def test_without_words_it_says_what_there_is():
    done = triflow()
    assert done.returncode == 64
    assert "triflow edge" in done.stdout
    assert triflow("--help").returncode == 0


def test_a_wrong_part_is_named():
    done = triflow("egde", "run")
    assert done.returncode == 64
    assert "there is no part 'egde'" in done.stderr


@pytest.mark.parametrize("part", ["edge", "cloud"])
def test_a_missing_file_is_a_fault_of_the_configuration(part, tmp_path):
    done = triflow(part, "check", str(tmp_path / "none.toml"))
    assert done.returncode == 78
    assert "cannot read it" in done.stderr


def test_all_faults_of_a_site_file_are_printed(tmp_path):
    site = tmp_path / "site.toml"
    site.write_text('[gateway]\nid = "GW"\ntenant = "t"\nsite = "s"\n[[connection]]\nname = "x"\ndriver = "modbus"\n')
    done = triflow("edge", "check", str(site))
    assert done.returncode == 78
    assert f"{site}:2: gateway.id" in done.stderr
    assert f"{site}:5: connection[0].modbus: host is missing" in done.stderr
    assert "2 fault(s); nothing was started" in done.stderr


def test_a_part_that_is_not_installed_says_how_to_install_it(tmp_path):
    (tmp_path / "cloud.toml").write_text(f'safe = "stored"\n[http]\nport = {free_port()}\n')
    done = triflow("cloud", "run", str(tmp_path / "cloud.toml"), before="sys.modules['alembic'] = None")
    assert done.returncode == 69, done.stderr
    assert "pip install 'triflow[cloud]'" in done.stderr


def test_a_gateway_loads_nothing_of_the_cloud():
    code = "import sys, edge.__main__; print(sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for stranger in (
        "'cloud'",
        "'sqlalchemy'",
        "'fastapi'",
        "'vl_convert'",
        "'onnxruntime'",
        "'sklearn'",
        "'yaml'",
        "'demo'",
        "'tests'",
    ):
        assert stranger not in loaded, f"{stranger} is loaded by a gateway"


def test_a_reader_who_has_seen_enough_is_no_fault():
    """`triflow rules explain … | head -1`, with more to say than a pipe holds."""
    book = ROOT / "models" / "examples" / "pasteurizer.toml"
    run = f"{sys.executable} -m triflow rules explain {book} --language en; echo status $? >&2"
    done = subprocess.run(
        ["bash", "-c", f"({run}) | head -c 10 >/dev/null"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stderr.strip() in {"status 0", "status 141"}, done.stderr


def test_what_the_cloud_can_be_told_is_said_without_loading_what_it_does():
    code = "import sys, cloud.__main__ as one; one._parser().format_help(); print(sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for heavy in ("'sqlalchemy'", "'psycopg'", "'numpy'", "'fastapi'", "'vl_convert'", "'pypdf'", "'xlsxwriter'"):
        assert heavy not in loaded, f"{heavy} is loaded by every command"
