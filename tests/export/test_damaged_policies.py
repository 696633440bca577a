"""Files that are not policies, and damaged ones."""

import hashlib
import io
import json
import zipfile

import jax
import numpy as np
import pytest

import ractd_jax
from ractd_jax.errors import PolicyError, RactdError
from tests.test_fuzz_files import damage_bytes


def repack(file, path, changes=None, metadata=None, comment=None, compression=0):
    """`file` with members and metadata changed (None drops), its digests made right."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members = {k: v for k, v in (members | (changes or {})).items() if v is not None}
    stored = json.loads(members.pop("metadata.json"))
    stored["sha256"] = {n: hashlib.sha256(c).hexdigest() for n, c in members.items()}
    text = json.dumps(stored | (metadata or {})).encode()
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in {"metadata.json": text, **members}.items():
            archive.writestr(name, content)
        digest = hashlib.sha256(text).hexdigest().encode()
        archive.comment = digest if comment is None else comment
    return path


def test_files_that_are_not_policies_are_refused(file, tmp_path):
    def refused(content, reason):
        path = tmp_path / "bad.zip"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(PolicyError, match=reason) as caught:
            ractd_jax.load_policy(path)
        assert isinstance(caught.value, RactdError) and str(path) in str(caught.value)
        path.unlink(missing_ok=True)

    whole = file.read_bytes()
    refused(None, "No such file")
    refused(b"", "something else of 0 bytes")
    refused(b"\x89HDF\r\n" + bytes(100), "something else of 106 bytes")
    for size in (4, 100, len(whole) // 2):
        refused(whole[:size], "a damaged or cut zip")
    refused(whole[:-1], "'metadata.json': expected SHA-256")
    for offset in (whole.index(b"nfe"), len(whole) // 2):
        flipped = bytearray(whole)
        flipped[offset] ^= 1
        refused(bytes(flipped), "a damaged or cut zip .*Bad CRC-32")
    other = io.BytesIO()
    np.savez(other, a=np.zeros(3))
    refused(
        other.getvalue(), r"expected a zip of metadata.json.* found one of \['a.npy'"
    )
    with pytest.raises(PolicyError, match="Is a directory"):
        ractd_jax.load_policy(tmp_path)


def saved(array) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=array)
    return buffer.getvalue()


PROGRAM, WEIGHTS = "plan.stablehlo", "weights.npz"


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        ({"changes": {PROGRAM: None}}, r"one of \['metadata.json', 'weights.npz'\]"),
        ({"changes": {"more": b""}}, "one of .*'more'"),
        (
            {"changes": {WEIGHTS: bytes(10**6)}, "compression": zipfile.ZIP_DEFLATED},
            "'weights.npz': expected a member of at most 20 times what it takes",
        ),
        ({"metadata": {"version": 2}}, "version 5, found format 'ractd_jax policy', v"),
        ({"metadata": {"format": "ONNX"}}, "found format 'ONNX'"),
        ({"metadata": {"sha256": {}}}, "'plan.stablehlo': expected SHA-256 None"),
        ({"metadata": {"sha256": 3}}, "'plan.stablehlo': expected SHA-256 None"),
        ({"comment": b"0" * 64}, "'metadata.json': expected SHA-256 000"),
        ({"comment": b"\xff"}, "'metadata.json': expected SHA-256"),
        ({"metadata": {"dimensions": {"a": 1}}}, "a policy's metadata"),
        ({"changes": {PROGRAM: b"none"}}, "expected a program that jax .* can read"),
        ({"changes": {WEIGHTS: b"none"}}, "'weights.npz': expected arrays"),
        (
            {"changes": {WEIGHTS: saved(np.zeros(3))}},
            "found 1 arrays, which do not match",
        ),
        ({"changes": {WEIGHTS: saved(np.array([print]))}}, "allow_pickle=False"),
    ],
)
def test_files_assembled_by_hand_are_refused(made, reason, file, tmp_path):
    """On purpose: with matching digests, where these are not what is changed."""
    with pytest.raises(PolicyError, match=reason):
        ractd_jax.load_policy(repack(file, tmp_path / "bad.zip", **made))


def test_a_platform_that_the_file_was_not_made_for_is_refused(file, monkeypatch):
    monkeypatch.setattr(jax.export, "default_export_platform", lambda: "rocm")
    with pytest.raises(
        PolicyError, match="a program for rocm, found one for cpu, cuda,"
    ):
        ractd_jax.load_policy(file)


def test_damaged_files_are_refused_or_the_same(file, loaded, tmp_path):
    """200 of them; what is not refused had its damage where nothing is stored."""
    path, outcomes = tmp_path / "damaged.zip", []
    program = loaded.program.serialize()
    for seed in range(200):
        rng = np.random.default_rng(seed)
        path.write_bytes(file.read_bytes())
        if seed % 4:
            damage_bytes(path, rng)
        else:  # The weights are most of the file: the zip's own tables get their share.
            content = bytearray(path.read_bytes())
            content[-int(rng.integers(1, 400))] ^= 1 << int(rng.integers(8))
            path.write_bytes(content)
        try:
            found = ractd_jax.load_policy(path)
        except PolicyError as error:
            assert str(path) in str(error)
            outcomes.append("refused")
            continue
        outcomes.append("same")
        assert found.metadata == loaded.metadata
        assert found.program.serialize() == program
        for a, b in zip(found.weights, loaded.weights, strict=True):
            np.testing.assert_array_equal(a, b)
    assert outcomes.count("refused") > 150 and "same" in outcomes
