import hashlib

from sync.chain import follow, genesis, statement

INC = "0123456789abcdef" * 2


def test_the_chain_is_what_a_stranger_would_compute_from_the_description() -> None:
    first, second = hashlib.sha256(b"one").digest(), hashlib.sha256(b"two").digest()
    begin = hashlib.sha256(b"triflow/1/" + INC.encode() + b"/1").digest()
    assert genesis(INC, 1) == begin
    link = hashlib.sha256(begin + first).digest()
    assert follow(genesis(INC, 1), first) == link
    assert follow(link, second) == hashlib.sha256(link + second).digest()


def test_two_streams_and_two_starts_have_different_chains() -> None:
    assert len({genesis(INC, 1), genesis(INC, 2), genesis("f" * 32, 1)}) == 3


def test_what_is_signed_names_everything_it_vouches_for() -> None:
    told = statement("t/s/g", (INC, 3), 7, b"\x01" * 32, at=9)
    others = [
        statement("t/s/h", (INC, 3), 7, b"\x01" * 32, at=9),
        statement("t/s/g", ("f" * 32, 3), 7, b"\x01" * 32, at=9),
        statement("t/s/g", (INC, 2), 7, b"\x01" * 32, at=9),
        statement("t/s/g", (INC, 3), 8, b"\x01" * 32, at=9),
        statement("t/s/g", (INC, 3), 7, b"\x02" * 32, at=9),
        statement("t/s/g", (INC, 3), 7, b"\x01" * 32, at=8),
    ]
    assert len({told, *others}) == 7
    assert told == f"triflow/1\nt/s/g\n{INC}\n3\n7\n{'01' * 32}\n9\n".encode()
