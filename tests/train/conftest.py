import pytest
from helpers.training import write_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Tone words to learn from and to be measured on."""
    folder = tmp_path_factory.mktemp("corpus")
    return {"train": write_corpus(folder, 24, 1), "dev": write_corpus(folder, 6, 2), "folder": folder}
