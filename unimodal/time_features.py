"""Time features: where a moment stands in its day, week, month and year, each from -0.5 to 0.5.

Source: the time-stamp covariates of Zhou et al. 2020, arXiv:2012.07436, appendix B, in the numeric form of its code for
hourly data ("timeF", after GluonTS): hour / 23, weekday / 6, (day - 1) / 30, (day of the year - 1) / 365, less 0.5.
Axes: L moments, M features.
"""

import numpy as np

__all__ = ["NAMES", "time_features"]

NAMES = ("hour of day", "day of week", "day of month", "day of year")


def time_features(moments: np.ndarray) -> np.ndarray:
    """The features of moments; minutes and seconds are left out, as in the source.

    Args:
        moments: datetime64 of any unit, without a time zone.

    Shapes:
        moments: (L,);  returns (M, L) float64, in the order of :data:`NAMES`.
    """
    days = moments.astype("datetime64[D]")
    hour = (moments - days).astype("timedelta64[h]").astype(np.int64)
    weekday = (days.astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
    day = (days - days.astype("datetime64[M]")).astype(np.int64)
    of_year = (days - days.astype("datetime64[Y]")).astype(np.int64)
    return np.stack([hour / 23, weekday / 6, day / 30, of_year / 365]) - 0.5
