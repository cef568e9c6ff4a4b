"""Splits that TFDS would not keep in memory are written without TensorFlow."""

import os

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core import shuffle

from parts_jax.data.formats import spool

COUNT = 300


class Numbers(tfds.core.GeneratorBasedBuilder):
    """Example i is i, a thousand times."""

    name = "numbers_for_spool"
    VERSION = tfds.core.Version("1.0.0")
    code_path = tfds.core.Path(__file__)
    fails_at = COUNT

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self, disable_shuffling=True, features=tfds.features.FeaturesDict({
                "x": tfds.features.Tensor(shape=(None,), dtype=np.int32, encoding="bytes")}))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(COUNT), "test": self._generate_examples(3)}

    def _generate_examples(self, count):
        for i in range(count):
            if i == self.fails_at:
                raise ValueError("for the test")
            yield i, {"x": np.full(1000, i, np.int32)}


def make_builder(data_dir):
    return Numbers(data_dir=data_dir, file_format="array_record")


def test_large_splits_are_written_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(shuffle, "MAX_MEM_BUFFER_SIZE", 1000)
    original = shuffle.Shuffler
    builder = make_builder(tmp_path)
    # Several shards, as large splits have.
    config = tfds.download.DownloadConfig(num_shards=3)
    with spool.installed():
        builder.download_and_prepare(download_config=config)
    assert shuffle.Shuffler is original
    source = builder.as_data_source(split="train")
    assert [int(example["x"][-1]) for example in source] == list(range(COUNT))
    assert all(len(example["x"]) == 1000 for example in source)
    assert builder.info.splits["train"].num_shards == 3
    assert builder.info.splits["train"].num_bytes > 4000 * COUNT
    assert len(builder.as_data_source(split="test")) == 3
    assert not list(tmp_path.rglob("*tmp*"))


def test_the_files_are_those_that_tfds_writes(tmp_path):
    make_builder(tmp_path / "1").download_and_prepare()
    with spool.installed():
        make_builder(tmp_path / "2").download_and_prepare()
    written = [{path.name: path.read_bytes() for path in sorted(folder.rglob("*array_record*"))}
               for folder in (tmp_path / "1", tmp_path / "2")]
    assert len(written[0]) == 2 and written[0] == written[1]


def test_nothing_stays_of_a_split_that_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(Numbers, "fails_at", 7)
    original = shuffle.Shuffler
    with pytest.raises(ValueError, match="for the test"), spool.installed():
        make_builder(tmp_path).download_and_prepare()
    assert shuffle.Shuffler is original
    assert not [name for _, _, names in os.walk(tmp_path) for name in names]


def test_keys_must_grow(tmp_path):
    spooled = spool.Spool(tmp_path, "salt", disable_shuffling=True)
    spooled.add(3, b"x")
    with pytest.raises(ValueError, match="keys of examples must grow; got 3 after 3"):
        spooled.add(3, b"y")
    assert (spooled.num_examples, spooled.size, list(spooled)) == (1, 1, [(3, b"x")])


def test_shuffling_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must have disable_shuffling=True"):
        spool.Spool(tmp_path, "salt")
