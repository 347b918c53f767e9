"""Pages of GET /sessions: by cursor the same cost anywhere, and whatever the number of rows."""

from dataclasses import dataclass
from functools import partial

from django.db import connection
from django.test.utils import CaptureQueriesContext

from benchmarks.bench import SMALL
from benchmarks.measured.calls import Caller
from benchmarks.measured.databases import FEW, LARGE, LAST_PAGE, PAGE_SIZE, use
from benchmarks.measured.rounds import Cost, Figure, Variant, at_most, in_turn

CALLS = 60
COUNTS = 2
ALIKE = 1.3


@dataclass(frozen=True)
class Page:
    """A page of a list in one of the databases."""

    caller: Caller
    database: str
    query: str

    def ask(self) -> None:
        """Ask the service for it."""
        page = self.caller.call("GET", f"/sessions?page_size={PAGE_SIZE}&{self.query}")
        assert len(page["sessions"]) == PAGE_SIZE

    def whole(self) -> Variant:
        """As a caller has it."""
        return Variant(self.ask, before=partial(use, self.database))

    def alone(self) -> Variant:
        """The very statement that it takes, without the service round it."""
        use(self.database)
        with CaptureQueriesContext(connection) as captured:
            self.ask()
        (sql,) = [sent["sql"] for sent in captured.captured_queries]

        def execute() -> None:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                assert len(cursor.fetchall()) >= PAGE_SIZE

        return Variant(execute, before=partial(use, self.database))


def measure() -> list[Figure]:
    """Everything about lists."""
    operator = Caller("olga", "operator", "")
    pages = {
        "a page by cursor: the first of a million rows": Page(operator, LARGE, "cursor="),
        "… page fifty thousand": _page(operator, LARGE, LAST_PAGE),
        "… one in the middle": _page(operator, LARGE, LAST_PAGE // 2),
        "… the first of ten thousand rows": Page(operator, SMALL, "cursor="),
        "… one in the middle of those": _page(operator, SMALL, FEW // PAGE_SIZE // 2),
    }
    counted = {
        "a page by number, counted: ten thousand rows": Page(operator, SMALL, "page=1").whole(),
        "… a million rows": Page(operator, LARGE, "page=1").whole(),
    }
    asked = in_turn({what: page.whole() for what, page in pages.items()}, CALLS)
    alone = in_turn({what: page.alone() for what, page in pages.items()}, CALLS)
    return [
        *_shown(asked),
        *_promised(list(asked.values()), ""),
        *_shown({f"the database alone, {what}": cost for what, cost in alone.items()}),
        *_promised(list(alone.values()), ", the database alone"),
        *_shown(in_turn(counted, COUNTS)),
    ]


def _page(caller: Caller, database: str, number: int) -> Page:
    """A page by its cursor, which the page before it, found by number, leads to."""
    use(database)
    before = caller.call("GET", f"/sessions?page={number - 1}&page_size={PAGE_SIZE}")
    return Page(caller, database, f"cursor={before['next_cursor']}")


def _shown(costs: dict[str, Cost]) -> list[Figure]:
    return [Figure(what, f"{cost.wall * 1000:.2f} ms") for what, cost in costs.items()]


def _promised(costs: list[Cost], how: str) -> list[Figure]:
    first, last, middle, few_first, few_middle = (cost.wall for cost in costs)
    return [
        at_most(f"page fifty thousand against the first{how}", last / first, ALIKE),
        at_most(f"a million rows against ten thousand, first page{how}", first / few_first, ALIKE),
        at_most(f"a million rows against ten thousand, middle{how}", middle / few_middle, ALIKE),
    ]
