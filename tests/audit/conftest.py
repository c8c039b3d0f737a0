"""The small BCS-DBT tree and the real files, which the tests of data have too."""

from tests.data.conftest import real, small_tree, tree

__all__ = ["real", "small_tree", "tree"]
