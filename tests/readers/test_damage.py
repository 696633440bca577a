"""Files with flipped, cut and inserted bytes: they load, or fail with our error."""

import numpy as np
import pytest

from ractd_jax.errors import DataError
from tests.readers.layouts import read
from tests.readers.samples import SAMPLES
from tests.readers.test_readers import WITH_REWARDS
from tests.test_fuzz_files import damage_bytes


@pytest.mark.parametrize("name", WITH_REWARDS)
def test_damaged_bytes_end_in_one_line(name, tmp_path):
    """Of LeRobot, of the folder's info or of a parquet file."""
    source, write = SAMPLES[name]
    path = tmp_path / name
    write(path)
    files = [file for file in sorted(path.rglob("*")) if file.is_file()] or [path]
    whole = {file: file.read_bytes() for file in files}
    refused = 0
    for seed in range(60):
        for file, content in whole.items():
            file.write_bytes(content)
        damage_bytes(files[seed % len(files)], np.random.default_rng(seed))
        try:
            read(source, path)
        except DataError as error:
            refused += 1
            assert str(error).startswith(str(path)) and "\n" not in str(error)
    assert refused > 20
