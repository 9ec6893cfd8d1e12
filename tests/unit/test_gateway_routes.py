import pytest

from lambent.gateway.routes import BadBinding, HttpBinding, Routes, binding_of


def bound(place: str, function: str = "") -> HttpBinding:
    """`[METHOD ][host]/path`; the function is named after the place unless given."""
    method, _, target = place.rpartition(" ")
    host, slash, path = target.partition("/")
    return binding_of(
        account="111122223333", function=function or place, method=method or "ANY", host=host, path=slash + path
    )


def routes(*places: str) -> Routes:
    table = Routes()
    for place in places:
        table.put(bound(place))
    return table


def found(table: Routes, request: str) -> str | None:
    method, _, target = request.partition(" ")
    host, slash, path = target.partition("/")
    match = table.find(method, host, slash + path)
    return match.binding.function if match else None


@pytest.mark.parametrize(
    ("places", "request_line", "expected"),
    [
        (["/hello"], "GET h/hello", "/hello"),
        (["/hello"], "GET h/hello/", None),
        (["/hello"], "GET h/other", None),
        (["/"], "GET h/", "/"),
        (["GET /a", "/a"], "GET h/a", "GET /a"),
        (["GET /a", "/a"], "POST h/a", "/a"),
        (["GET /a"], "POST h/a", None),
        (["/u/{id}", "/u/me"], "GET h/u/me", "/u/me"),
        (["/u/{id}", "/u/me"], "GET h/u/7", "/u/{id}"),
        (["/u/{id}"], "GET h/u/", None),
        (["/u/{id}"], "GET h/u/7/8", None),
        (["/u/{id}", "/u/{rest+}"], "GET h/u/7", "/u/{id}"),
        (["/u/{id}", "/u/{rest+}"], "GET h/u/7/8", "/u/{rest+}"),
        (["/u/{rest+}"], "GET h/u", None),
        (["/u/{rest+}"], "GET h/u/", None),
        (["/u/*"], "GET h/u", "/u/*"),
        (["/u/*"], "GET h/u/", "/u/*"),
        (["/u/*"], "GET h/u/7/8", "/u/*"),
        (["/u/*"], "GET h/ux", None),
        (["/*"], "GET h/", "/*"),
        (["/*"], "GET h/any/thing", "/*"),
        (["/{all+}"], "GET h/", None),
        # More specific from the left, also when only a less specific branch ends in a match.
        (["/a/{x}/c", "/a/b/{y}"], "GET h/a/b/c", "/a/b/{y}"),
        (["/a/{x}/c", "/a/b/d"], "GET h/a/b/c", "/a/{x}/c"),
        (["/a/{x}/c", "/{all+}"], "GET h/a/b/z", "/{all+}"),
        # A path that fits with another method gives way to one that fits altogether.
        (["POST /a", "GET /{x}"], "GET h/a", "GET /{x}"),
        (["POST /a/{x}", "GET /a/{rest+}"], "GET h/a/b", "GET /a/{rest+}"),
        (["GET /a/*", "/a/{rest+}"], "GET h/a/", "GET /a/*"),
        (["GET /a/{rest+}", "/a/*"], "GET h/a", "/a/*"),
        # The host comes first.
        (["api.test/{all+}", "/a"], "GET api.test/a", "api.test/{all+}"),
        (["api.test/{all+}", "/a"], "GET API.test:8080/a", "api.test/{all+}"),
        (["api.test/b", "/a"], "GET api.test/a", "/a"),
        (["api.test/b"], "GET other.test/b", None),
        # Percent-encoding has one spelling.
        (["/café"], "GET h/caf%c3%a9", "/café"),
        (["/caf%C3%A9"], "GET h/caf%c3%A9", "/caf%C3%A9"),
        (["/a b".replace(" ", "%20")], "GET h/a%20b", "/a%20b"),
        (["/hello"], "GET h/h%65llo", "/hello"),
        (["/a/b"], "GET h/a%2Fb", None),
        (["/{x}"], "GET h/a%2fb", "/{x}"),
        (["/{x}"], "GET h/%ff", "/{x}"),
        (["/*"], "OPTIONS h", None),
        (["/café"], "GET h/caf\xc3\xa9", "/café"),
    ],
)
def test_the_most_specific_binding_answers(places: list[str], request_line: str, expected: str | None) -> None:
    assert found(routes(*places), request_line) == expected
    assert found(routes(*reversed(places)), request_line) == expected


def test_parameters_are_decoded_and_named_by_the_binding_that_matched() -> None:
    table = routes("GET /u/{id}/f/{rest+}", "POST /u/{user}/f/{path+}")
    match = table.find("GET", "h", "/u/a%20b/f/x/y%2Fz")
    assert match is not None
    assert match.parameters == {"id": "a b", "rest": "x/y/z"}
    assert match.route_key == "GET /u/{id}/f/{rest+}"
    match = table.find("POST", "h", "/u/7/f/q")
    assert match is not None and match.parameters == {"user": "7", "path": "q"}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("/u/{id}", "/u/{user}", True),
        ("/u/{rest+}", "/u/*", True),
        ("/café", "/caf%C3%A9", True),
        ("GET /u", "get /u", True),
        ("API.test/u", "api.test/u", True),
        ("/u", "/u/", False),
        ("GET /u", "/u", False),
        ("a.test/u", "/u", False),
        ("/u/{id}", "/u/id", False),
        ("/u/{id}", "/u/{id+}", False),
    ],
)
def test_the_same_place_has_the_same_id(one: str, other: str, same: bool) -> None:
    assert (bound(one).id == bound(other).id) is same


@pytest.mark.parametrize(
    "place",
    [
        "hello",
        "",
        "FETCH /a",
        "/a?x=1",
        "/a#x",
        "/a b",
        "/a\n",
        "/{a+}/b",
        "/*/b",
        "/{}",
        "/{a}b",
        "/x{a}",
        "/{a}/{a}",
        "/" + "a" * 1024,
        "/a" * 33,
        "-bad/a",
        "http:/a",
        "h:80/a",
    ],
)
def test_a_binding_that_cannot_be_is_refused(place: str) -> None:
    method, _, target = place.rpartition(" ") if not place.startswith("/") else ("", "", place)
    host, slash, path = target.partition("/")
    with pytest.raises(BadBinding):
        binding_of(account="1", function="f", method=method or "ANY", host=host, path=slash + path)


def test_removing_bindings_leaves_the_others() -> None:
    places = [
        "/a",
        "GET /a",
        "/a/{x}",
        "/a/{x}/b",
        "/a/{r+}",
        "/a/*".replace("*", "c/*"),
        "h.test/a",
        "h.test/{x}",
        "/*",
    ]
    for gone in places:
        table = routes(*places)
        table.remove(bound(gone).id)
        table.remove(bound(gone).id)
        assert len(table) == len(places) - 1
        expected = routes(*(place for place in places if place != gone))
        for request in [
            "GET h/a",
            "POST h/a",
            "GET h/a/1",
            "GET h/a/1/b",
            "GET h/a/c/d",
            "GET h.test/a",
            "GET h.test/z",
        ]:
            assert found(table, request) == found(expected, request), (gone, request)


def test_an_emptied_table_holds_nothing() -> None:
    places = ["/a", "/a/{x}", "/b/{r+}", "h.test/a/b/c", "h.test/{x}/*"]
    table = routes(*places)
    for place in places:
        table.remove(bound(place).id)
    assert len(table) == 0
    assert table._hosts == {}


def test_putting_an_id_again_replaces_its_function() -> None:
    table = routes("/a")
    table.put(bound("/a", "other"))
    assert found(table, "GET h/a") == "other"
    assert len(table) == 1


def test_a_path_of_many_segments_reaches_a_greedy_end() -> None:
    table = routes("/{all+}")
    match = table.find("GET", "h", "/a" * 500)
    assert match is not None
    assert match.parameters["all"] == "/".join("a" * 500)
