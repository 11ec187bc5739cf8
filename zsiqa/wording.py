"""Words for people."""


def count(number: int, what: str = "image") -> str:
    """A number of things.

    Examples:
        >>> count(1), count(2000, "job")
        ('1 image', '2,000 jobs')
    """
    return f"{number:,} {what}{'s' * (number != 1)}"
