"""Linear classifiers of scikit-learn, by how strongly they are regularized."""

from __future__ import annotations

from typing import Any

MOST_ITERATIONS = 2000


def logistic(value: float, seed: int) -> Any:
    """Multinomial logistic regression.

    Args:
        value: ``C``, the inverse of the strength of its L2 penalty.
        seed: Not used: the solver (L-BFGS) draws nothing.

    Returns:
        An estimator with ``fit``, ``decision_function``, ``coef_`` and ``intercept_``.
    """
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=value, max_iter=MOST_ITERATIONS)


def svm(value: float, seed: int) -> Any:
    """Linear support vector machine, one class against the rest, squared hinge.

    Args:
        value: ``C``, the inverse of the strength of its L2 penalty.
        seed: Of the order in which its solver takes the images.

    Returns:
        An estimator with ``fit``, ``decision_function``, ``coef_`` and ``intercept_``.
    """
    from sklearn.svm import LinearSVC

    return LinearSVC(C=value, max_iter=MOST_ITERATIONS, random_state=seed)


def ridge(value: float, seed: int) -> Any:
    """Ridge regression on +1 and -1, one class against the rest.

    Args:
        value: ``alpha``, the strength of its L2 penalty.
        seed: Not used: the solution is direct.

    Returns:
        An estimator with ``fit``, ``decision_function``, ``coef_`` and ``intercept_``.
    """
    from sklearn.linear_model import RidgeClassifier

    return RidgeClassifier(alpha=value)
