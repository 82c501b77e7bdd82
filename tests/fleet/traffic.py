"""Arrivals of a day, in seconds."""

import random

# Requests by the hour, as parts of the busiest one: the night, a morning, a dip at noon, an evening.
DAY = [0.12, 0.08, 0.06, 0.05, 0.05, 0.06, 0.10, 0.20, 0.38, 0.55, 0.66, 0.70,
       0.62, 0.60, 0.66, 0.70, 0.74, 0.80, 0.90, 1.00, 0.97, 0.76, 0.45, 0.22]
# One rise and one fall, for a quick check. A replica that is wanted takes some seconds to start, so the rise must not be steeper
# than what one has in reserve for that time.
SHORT = [0.20, 0.25, 0.31, 0.37, 0.43, 0.49, 0.55, 0.60, 0.60, 0.30, 0.10, 0.10, 0.10, 0.10, 0.10, 0.10]


def rate_at(shape, part):
    """The rate at a part (0 to 1) of the day, as part of the highest; linear between the middles of the hours."""
    place = part * len(shape) - 0.5
    before = int(place // 1)
    share = place - before
    return shape[before % len(shape)] * (1 - share) + shape[(before + 1) % len(shape)] * share


def arrivals(shape, seconds, peak, seed):
    """Poisson arrivals whose rate follows the shape, up to `peak` per second (by thinning)."""
    source = random.Random(seed)
    times, now = [], 0.0
    while True:
        now += source.expovariate(peak)
        if now >= seconds:
            return times
        if source.random() < rate_at(shape, now / seconds):
            times.append(now)


def steady(seconds, rate, seed):
    return arrivals([1.0], seconds, rate, seed)


def write(times, file):
    file.write_text("".join(f"{time:.6f}\n" for time in times))
