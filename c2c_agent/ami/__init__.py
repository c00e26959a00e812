"""The Asterisk Manager Interface (AMI), version 2 and later, over TCP.

    <- Asterisk Call Manager/11.0.0
    -> Action: Login
    -> ActionID: 1
    -> Username: c2c-agent
    -> Secret: s3cret
    -> Events: call
    ->
    <- Response: Success
    <- ActionID: 1
    <- Message: Authentication accepted
    <-
    -> Action: Originate
    -> ActionID: 2
    -> Channel: Local/290@from-phones
    -> Context: c2c-bridge
    -> Exten: s
    -> Priority: 1
    -> Timeout: 30000
    -> Async: true
    -> ChannelId: c2c-5f0e7c1a
    ->
    <- Response: Success
    <- ActionID: 2
    <- Message: Originate successfully queued
    <-
    <- Event: OriginateResponse
    <- ActionID: 2
    <- Response: Failure
    <- Reason: 5
    <- Uniqueid: c2c-5f0e7c1a
    <-
    -> Action: Logoff
    -> ActionID: 3
    ->
    <- Response: Goodbye
    <- ActionID: 3
    <- Message: Thanks for all the fish.
    <-

Every line ends with CRLF, a message with an empty line. Asterisk answers an action by its ActionID.
Events come in between, at any time.

`message` reads and writes the lines of the wire, `actions` makes the actions, `pending` matches
responses to them, `protocol` is one connection that logs in, `link` keeps one up. It may know
`net`, `text` and `errors`, and no call: it could be lifted into another project with its tests.
"""
