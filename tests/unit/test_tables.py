from common.tables import pairs, rows


def test_rows_go_on_where_the_next_line_is_indented() -> None:
    table = """
# what is sold
tea  | green | from China |
    loose, and in bags
coffee | | black
"""
    assert rows(table) == [
        ["tea", "green", "from China", "loose, and in bags"],
        ["coffee", "", "black"],
    ]


def test_pairs_are_a_dictionary_in_the_order_of_the_rows() -> None:
    made = pairs("\nb | the second letter\na | the first\n")
    assert list(made.items()) == [("b", "the second letter"), ("a", "the first")]
