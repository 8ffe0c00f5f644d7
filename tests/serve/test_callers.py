"""Who asks, and how soon after the answer."""

from __future__ import annotations

from coldframe.serve.callers import Callers, Lookout

SOON, LATE = 50e-6, 2e-3  # seconds


class Turns:
    """One client whose requests come after pauses, and how long the event loop looked for each, in rounds."""

    def __init__(self, alone: bool = True) -> None:
        self.now, self.looks = 0.0, list[int]()
        self.waiting: list[tuple[object, ...]] = []
        callers = Callers()
        for k in range(20):
            callers.heard("client" if alone else k)
        self.lookout = Lookout(callers, lambda: self.now)

    def call_soon(self, function: object, *given: object) -> None:
        self.waiting.append((function, *given))

    def ask(self, pause: float) -> None:
        """Answer, let the loop go round every 10 us until the next request is there, and take that."""
        self.lookout.answered(self)  # type: ignore[arg-type] # what it needs of a loop
        rounds = 0
        for _ in range(int(pause / 10e-6)):
            self.now += 10e-6
            waiting, self.waiting = self.waiting, []
            rounds += len(waiting)
            for function, *given in waiting:
                function(*given)  # type: ignore[operator]
        self.looks.append(rounds)
        self.lookout.asked()


def test_it_stays_awake_for_a_client_that_asks_at_once() -> None:
    turns = Turns()
    for _ in range(4):
        turns.ask(SOON)
    assert turns.looks == [0, 5, 5, 5]  # one look for each round of the loop, never two


def test_it_sleeps_where_the_next_request_takes_longer() -> None:
    turns = Turns()
    for pause in (SOON, LATE, LATE, LATE, SOON, SOON):
        turns.ask(pause)
    assert turns.looks[:2] == [0, 30]  # until it was time
    assert turns.looks[2:5] == [0, 0, 0]
    assert turns.looks[5] == 5


def test_it_sleeps_where_several_ask() -> None:
    turns = Turns(alone=False)
    for _ in range(3):
        turns.ask(SOON)
    assert turns.looks == [0, 0, 0]
