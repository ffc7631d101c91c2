"""The tree against a small independent implementation and the known vectors, in memory and as it is stored."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.models import BLOCK, Block, Leaf
from audit.sealing import tree
from tests.ledger import as_superuser, root_of

# The eight leaves of the test vectors of Certificate Transparency (RFC 6962), and the roots over the first of them.
VECTOR_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
VECTOR_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
# (leaf, size, path), (first, second, path): the vectors of the same tests, the first 16 digits of each hash.
VECTOR_INCLUSION = [
    (0, 1, []),
    (0, 8, ["96a296d224f285c6", "5f083f0a1a33ca07", "6b47aaf29ee3c2af"]),
    (5, 8, ["bc1a0643b12e4d2d", "ca854ea128ed050b", "d37ee418976dd957"]),
    (2, 3, ["fac54203e7cc696c"]),
]
VECTOR_CONSISTENCY = [
    (1, 1, []),
    (1, 8, ["96a296d224f285c6", "5f083f0a1a33ca07", "6b47aaf29ee3c2af"]),
    (6, 8, ["0ebc5d3437fbe2db", "ca854ea128ed050b", "d37ee418976dd957"]),
]


def _leaf(data):
    return hashlib.sha256(b"\0" + data).digest()


def _consistent(first, second, first_root, second_root, path):
    """Section 2.1.4.2 of RFC 9162: whether the path proves it."""
    if first == second:
        return not path and first_root == second_root
    path = list(path) if first & (first - 1) else [first_root, *path]
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for node in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = hashlib.sha256(b"\1" + node + fr).digest(), hashlib.sha256(b"\1" + node + sr).digest()
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = hashlib.sha256(b"\1" + sr + node).digest()
        fn, sn = fn >> 1, sn >> 1
    return fr == first_root and sr == second_root and sn == 0


def _root_from(leaves, nodes, size):
    """The root out of some leaves and the named nodes alone."""
    known = {(level, index): found for level, index, found in nodes}
    used = set()

    def over(start, end):
        level = (end - start - 1).bit_length()
        if (level, start >> level) in known:
            used.add((level, start >> level))
            return known[level, start >> level]
        if end - start == 1:
            return leaves[start]
        half = 1
        while half * 2 < end - start:
            half *= 2
        return hashlib.sha256(b"\1" + over(start, start + half) + over(start + half, end)).digest()

    root = over(0, size)
    assert used == set(known), "nodes that nobody needs"
    return root


def _hashes(number):
    return [_leaf(str(position).encode()) for position in range(number)]


def _store(leaves):
    Leaf.objects.bulk_create(
        Leaf(position=position, entry=position + 1, seal=1, hash=found) for position, found in enumerate(leaves)
    )
    Block.objects.bulk_create(
        Block(number=number, hash=root_of(leaves[number * BLOCK : (number + 1) * BLOCK]))
        for number in range(len(leaves) // BLOCK)
    )


def test_roots_and_proofs_are_those_of_the_known_vectors(db):
    known = [_leaf(bytes.fromhex(text)) for text in VECTOR_LEAVES]
    assert [tree.root_of([], known[:size]).hex() for size in range(9)] == VECTOR_ROOTS
    _store(known)
    for position, size, path in VECTOR_INCLUSION:
        nodes = sorted(tree.proof_nodes([position], size))
        assert [found.hex()[:16] for _, _, found in nodes] == path
    for first, second, path in VECTOR_CONSISTENCY:
        assert [found.hex()[:16] for found in tree.consistency_path(first, second)] == path


@given(st.integers(0, 5), st.integers(0, BLOCK - 1))
def test_root_over_blocks_and_rest_is_the_root_over_all_leaves(blocks, rest):
    leaves = _hashes(blocks * BLOCK + rest)
    whole = [root_of(leaves[number * BLOCK : (number + 1) * BLOCK]) for number in range(blocks)]
    assert tree.root_of(whole, leaves[blocks * BLOCK :]) == root_of(leaves)


@pytest.mark.parametrize("largest", [17, pytest.param(72, marks=pytest.mark.slow)])
def test_every_leaf_of_every_small_tree_is_proved_and_every_two_sizes_are_consistent(db, largest):
    leaves = _hashes(largest)
    _store(leaves)
    roots = [root_of(leaves[:size]) for size in range(largest + 1)]
    for size in range(1, largest + 1):
        for position in range(size):
            nodes = tree.proof_nodes([position], size)
            assert _root_from({position: leaves[position]}, nodes, size) == roots[size]
            assert len(nodes) <= (size - 1).bit_length()
        for first in range(1, size + 1):
            assert _consistent(first, size, roots[first], roots[size], tree.consistency_path(first, size))


def test_proofs_hold_across_blocks_and_for_several_leaves_at_once(db):
    leaves = _hashes(3 * BLOCK + 77)
    _store(leaves)

    @given(st.data())
    def holds(data):
        size = data.draw(st.integers(1, len(leaves)))
        wanted = data.draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=9))
        nodes, root = tree.proof_nodes(list(wanted), size), root_of(leaves[:size])
        assert _root_from({position: leaves[position] for position in wanted}, nodes, size) == root
        assert tree.stored_root(size) == root
        first = data.draw(st.integers(1, size))
        path = tree.consistency_path(first, size)
        assert _consistent(first, size, root_of(leaves[:first]), root, path)

    holds()


def test_proof_opens_only_the_blocks_that_it_needs_and_misses_what_is_not_there(db, django_assert_num_queries):
    leaves = _hashes(3 * BLOCK + 3)
    _store(leaves)
    with django_assert_num_queries(2):
        nodes = tree.proof_nodes([BLOCK + 9, BLOCK + 200], len(leaves))
    assert len(nodes) < 20
    with pytest.raises(tree.TreeIncomplete, match="Of the 4 leaves after the last whole block 3"):
        tree.stored_root(3 * BLOCK + 4)
    with pytest.raises(tree.TreeIncomplete, match="Of 4 blocks 3"):
        tree.stored_root(4 * BLOCK)
    as_superuser("DELETE FROM audit_leaf WHERE position = %s", [BLOCK + 8])
    with pytest.raises(tree.TreeIncomplete, match=f"Leaf {BLOCK + 8} of {len(leaves)} is not there"):
        tree.proof_nodes([BLOCK + 9], len(leaves))
    assert tree.proof_nodes([9], len(leaves))


def test_proof_of_no_leaf_or_of_one_beyond_the_tree_is_refused(db):
    for positions in ([], [7], [-1]):
        with pytest.raises(ValueError, match="in the tree"):
            tree.proof_nodes(positions, 7)
    for first in (8, -1):
        with pytest.raises(ValueError, match="larger"):
            tree.consistency_path(first, 7)
    assert tree.consistency_path(0, 7) == tree.consistency_path(7, 7) == []
