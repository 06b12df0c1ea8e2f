"""Currencies that the account takes, and Stripe's smallest and largest charges. All pure."""

from __future__ import annotations

from bursar_sandbox.stripe.errors import StripeError

_ORDINARY = (
    "usd aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bmd bnd bob brl bsd bwp byn bzd "
    "cad cdf chf cny cop crc cve czk dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gtq gyd hkd "
    "hnl htg huf idr ils inr isk jmd kes kgs khr kyd kzt lak lbp lkr lrd lsl mad mdl mkd mmk mnt "
    "mop mur mvr mwk mxn myr mzn nad ngn nio nok npr nzd pab pen pgk php pkr pln qar ron rsd rub "
    "sar sbd scr sek sgd shp sle sos srd std szl thb tjs top try ttd twd tzs uah ugx uyu uzs wst "
    "xcd yer zar zmw"
)
_WITHOUT_DECIMALS = "bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf"
_THREE_DECIMALS = "bhd jod kwd omr tnd"
SUPPORTED = frozenset(f"{_ORDINARY} {_WITHOUT_DECIMALS} {_THREE_DECIMALS}".split())
_THOUSANDTHS = frozenset(_THREE_DECIMALS.split())
_WHOLE = frozenset(_WITHOUT_DECIMALS.split())

# The smallest charge in minor units, from Stripe's published table; others have none of their own.
_MINIMUM = {
    "usd": 50, "aed": 200, "aud": 50, "bgn": 100, "brl": 50, "cad": 50, "chf": 50, "czk": 1500,
    "dkk": 250, "eur": 50, "gbp": 30, "hkd": 400, "huf": 17500, "inr": 50, "jpy": 50, "mxn": 1000,
    "myr": 200, "nok": 300, "nzd": 50, "pln": 200, "ron": 200, "sek": 300, "sgd": 50, "thb": 1000,
}  # fmt: skip
MAXIMUM = 99_999_999
# Without a smaller coin, and yet counted in hundredths.
_WHOLE_HUNDREDTHS = frozenset({"isk", "ugx"})


def check_currency(value: str, param: str = "currency") -> str:
    """The currency in lower case. Raises StripeError for one that Stripe doesn't take."""
    currency = value.lower()
    if currency not in SUPPORTED:
        raise StripeError(
            f"Invalid currency: {value[:20]}. Stripe currently supports these currencies: "
            f"{', '.join(sorted(SUPPORTED))}",
            param=param,
        )
    return currency


def check_charge(amount: int, currency: str, what: str = "Amount", param: str = "amount") -> None:
    """Raise StripeError for an amount, in minor units, that can't be charged."""
    minimum = minimum_of(currency)
    if amount < minimum:
        raise StripeError(
            f"{what} must be at least {shown(minimum, currency)}",
            code="amount_too_small",
            param=param,
        )
    if amount > MAXIMUM:
        raise StripeError(
            f"{what} must be no more than {shown(MAXIMUM, currency)}",
            code="amount_too_large",
            param=param,
        )
    step = step_of(currency)
    if amount % step:
        raise StripeError(
            f"Invalid amount: amounts in {currency} must be a multiple of {step}.", param=param
        )


def minimum_of(currency: str) -> int:
    """The smallest charge in minor units."""
    return _MINIMUM.get(currency, 1)


def step_of(currency: str) -> int:
    """The smallest difference, in minor units, between two amounts that can be charged."""
    if currency in _THOUSANDTHS:
        return 10
    return 100 if currency in _WHOLE_HUNDREDTHS else 1


def shown(amount: int, currency: str) -> str:
    """An amount for a message, such as `$0.50 usd`."""
    places = 0 if currency in _WHOLE else 3 if currency in _THOUSANDTHS else 2
    whole, part = divmod(amount, 10**places)
    figure = f"{whole}.{part:0{places}d}" if places else str(whole)
    return f"{'$' if currency == 'usd' else ''}{figure} {currency}"


def fee_of(amount: int) -> int:
    """Stripe's fee in minor units: 2.9 % and 30, rounded half up."""
    return (amount * 29 + 500) // 1000 + 30
