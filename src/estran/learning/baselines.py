"""What a learner must beat: answers that need no learning, judged prequentially like any other."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def no_change(truths: ArrayLike) -> NDArray[np.bool_]:
    """Whether "the same class as the last one" was right, sample by sample; the first answer is class 0.

    Parameters
    ----------
    truths
        Class indices in the order in which they were asked for, shape (n,).

    References
    ----------
    Bifet et al., *Pitfalls in benchmarking data stream classification and how to avoid them*, ECML PKDD 2013.

    Examples
    --------
    >>> no_change([0, 0, 1, 1]).mean()
    np.float64(0.75)
    """
    truth = np.asarray(truths, dtype=np.int64)
    return np.asarray(truth == np.concatenate([[0], truth[:-1]])[: truth.size])


def majority(truths: ArrayLike) -> NDArray[np.bool_]:
    """Whether "the class seen most often so far" was right, sample by sample; ties go to the lower class.

    Parameters
    ----------
    truths
        Class indices in the order in which they were asked for, shape (n,).

    Examples
    --------
    >>> majority([1, 1, 0, 1]).mean()
    np.float64(0.5)
    """
    truth = np.asarray(truths, dtype=np.int64)
    counts = np.zeros(int(truth.max(initial=0)) + 1, dtype=np.int64)
    right = np.zeros(truth.size, dtype=np.bool_)
    leader = 0
    for i, label in enumerate(truth.tolist()):
        right[i] = label == leader
        counts[label] += 1
        if (counts[label], -label) > (counts[leader], -leader):
            leader = label
    return right
