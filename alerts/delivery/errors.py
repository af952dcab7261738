"""What this slice refuses."""

from __future__ import annotations

from console.core.errors import Conflict, Invalid


class ChannelInvalid(Invalid):
    """What was said of a channel cannot be used; the sentence names the field."""

    code = "channel_invalid"


class HostNotApproved(Conflict):
    """The channel would send to a host that no administrator of the console approved."""

    code = "host_not_approved"
    again = "After an administrator of the console approved the host."


class ChannelExists(Conflict):
    """The environment has a channel of this name already."""

    code = "channel_exists"


class DeliveryState(Conflict):
    """Only what was given up can be sent again, and only while its breach is not told to be over."""

    code = "delivery_state"
