"""A bar of tqdm for loads, where that is installed."""

from typing import Any, Optional


class Bar:
    def __init__(self, tqdm: Any) -> None:
        self.bar = tqdm(unit="B", unit_scale=True, unit_divisor=1024, desc="loading")

    def __call__(self, done: int, total: int) -> None:
        self.bar.total = total
        self.bar.update(done - self.bar.n)

    def close(self) -> None:
        self.bar.close()


def bar() -> Optional[Bar]:
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None
    return Bar(tqdm)
