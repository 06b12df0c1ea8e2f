"""The plans that tests of subscriptions sell."""

CATALOG = """
[units.page]
name = "Pages"

[units.credit]
name = "Credits"
per_minor = { usd = "1" }

[plans.basic]
name = "Basic"
unit = "page"
credits = 20
features = ["history"]
prices = { month = { usd = 1500 }, year = { usd = 15000 } }
group = "pages"

[plans.pro]
name = "Pro"
unit = "page"
credits = 50
features = ["history", "priority"]
prices = { month = { usd = 3000 }, year = { usd = 30000 } }
group = "pages"

[plans.yearly]
name = "Yearly"
unit = "page"
credits = 600
features = ["history"]
prices = { year = { usd = 30000 } }
yearly_credits = "once"
group = "pages"

[plans.trial]
name = "Trial"
unit = "page"
credits = 30
features = ["history"]
prices = { month = { usd = 2000 } }
trial_days = 14
trial_card = false
trial_credits = 5
group = "trials"

[plans.patient]
name = "Patient"
unit = "page"
credits = 30
prices = { month = { usd = 2000 } }
trial_days = 14
trial_card = false
trial_end = "pause"
group = "patient"

[plans.saver]
name = "Saver"
unit = "page"
credits = 20
rollover = 15
prices = { month = { usd = 1500 } }
group = "saver"

[plans.team]
name = "Team"
unit = "page"
credits = 40
limits = { seats = 1 }
prices = { month = { usd = 1000 } }
group = "team"

[plans.extra]
name = "Extra"
unit = "page"
credits = 5
prices = { month = { usd = 500 } }
group = "pages"
addon = true
"""
