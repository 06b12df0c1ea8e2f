"""Invariants of messages: what was received is stored, worked off or seen by a person."""

from __future__ import annotations

from bursar.checks.invariants.invariant import Invariant

INVARIANTS = (
    Invariant(
        "events_are_stored",
        "Each event key has its message with a state, and each message its key.",
        """
        select k.provider, k.event_key, k.message_id from inbox_keys k
        left join inbox_messages m on m.id = k.message_id
        left join inbox_states s on s.message_id = k.message_id
        where m.id is null or s.message_id is null
        union all
        select m.provider, m.event_key, m.id from inbox_messages m
        left join inbox_keys k on k.message_id = m.id where k.message_id is null
        """,
    ),
    Invariant(
        "open_events_are_queued",
        "A message is in the queue exactly while it is not worked off.",
        """
        select s.message_id, s.state, q.message_id is not null as queued
        from inbox_states s left join inbox_queue q on q.message_id = s.message_id
        where (s.state in ('received', 'processing', 'failed')) <> (q.message_id is not null)
        union all
        select q.message_id, null, true from inbox_queue q
        left join inbox_states s on s.message_id = q.message_id where s.message_id is null
        """,
    ),
    Invariant(
        "dead_events_are_cases",
        "A message that was given up has a case.",
        """
        select s.message_id, s.reason from inbox_states s
        where s.state = 'dead' and not exists (
            select from cases c
            where c.kind = 'dead' and c.reference = 'message:' || s.message_id)
        """,
    ),
)
