"""Calls on an Asterisk: AMI carries the order and tells of legs, FastAGI bridges the second leg.

`driver` is the way in. `originate` makes the order, `bridge` is the conversation over FastAGI.
`channel_id` says whose call a channel or an event is of, `event_time` when an event happened.
`followed_call` follows one call: `call_trace` makes leg events of AMI events. It has `channel_tree`
sort the call's channels into legs. `leg_trace` keeps what was told of each leg as a whole,
`last_word` says which channel a leg's end is told of, and `end_of_talk` who has ended the talk.
`following` says when the call is over, `hanging_up` how it is hung up. `inquiry` asks what exists
of calls, and reads what the dialplan has left, which `astdb` understands. `evidence` puts together
what was watched, reported and recorded; what it means is said in `call.verdict`.
"""
