"""Numbers, lists and names as people read them."""

from asr.util.format import as_time, plural, printable, some


def test_counts_and_times():
    assert [plural(count, "line") for count in (0, 1, 1400)] == ["0 lines", "1 line", "1,400 lines"]
    assert [as_time(seconds) for seconds in (5, 744, 4860)] == ["5.0 s", "12.4 min", "1.35 h"]


def test_a_list_names_the_first_and_counts_the_rest():
    assert some("abc", 3) == "a, b, c"
    assert some(range(9), 2) == "0, 1 and 7 more"
    assert some([]) == ""


def test_what_a_terminal_would_not_print_is_escaped():
    assert printable("grüße\n\x1b[1m\udce9 [bold]") == r"grüße\n\x1b[1m\udce9 [bold]"
