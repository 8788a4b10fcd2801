"""What a learner must beat: answers that need no learning, judged prequentially like any other."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def no_change(truths: ArrayLike, delay: int = 0) -> NDArray[np.bool_]:
    """Whether "the same class as the last one" was right, sample by sample; the first answer is class 0.

    Parameters
    ----------
    truths
        Class indices in the order in which they were asked for, shape (n,).
    delay
        After how many further samples a class becomes known: the last one is then so much older.

    References
    ----------
    Bifet et al., *Pitfalls in benchmarking data stream classification and how to avoid them*, ECML PKDD 2013.

    Examples
    --------
    >>> no_change([0, 0, 1, 1]).mean()
    np.float64(0.75)
    >>> no_change([0, 0, 1, 1], delay=1).mean()
    np.float64(0.5)
    """
    truth = np.asarray(truths, dtype=np.int64)
    return np.asarray(truth == np.concatenate([np.zeros(delay + 1, dtype=np.int64), truth])[: truth.size])


def majority(truths: ArrayLike, delay: int = 0) -> NDArray[np.bool_]:
    """Whether "the class seen most often so far" was right, sample by sample; ties go to the lower class.

    Parameters
    ----------
    truths
        Class indices in the order in which they were asked for, shape (n,).
    delay
        After how many further samples a class becomes known.

    Examples
    --------
    >>> majority([1, 1, 0, 1]).mean()
    np.float64(0.5)
    """
    truth = np.asarray(truths, dtype=np.int64)
    counts = np.zeros(int(truth.max(initial=0)) + 1, dtype=np.int64)
    leaders = np.zeros(truth.size + delay + 1, dtype=np.int64)
    leader = 0
    for i, label in enumerate(truth.tolist()):
        counts[label] += 1
        if (counts[label], -label) > (counts[leader], -leader):
            leader = label
        leaders[i + delay + 1] = leader
    return np.asarray(truth == leaders[: truth.size])
