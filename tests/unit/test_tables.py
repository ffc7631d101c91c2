from common.tables import table_pairs, table_rows


def test_rows_go_on_where_the_next_line_is_indented() -> None:
    table = """
# what is sold
tea  | green | from China |
    loose, and in bags
coffee | | black
"""
    assert table_rows(table) == [
        ["tea", "green", "from China", "loose, and in bags"],
        ["coffee", "", "black"],
    ]


def test_pairs_are_a_dictionary_in_the_order_of_the_rows() -> None:
    made = table_pairs("\nb | the second letter\na | the first\n")
    assert list(made.items()) == [("b", "the second letter"), ("a", "the first")]
