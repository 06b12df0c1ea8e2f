"""The ledger of credits: the only writer of the ledger's tables. It decides nothing.

Who gets what, when and for how much is billing's to say; here it is posted, in balance, once.
"""
