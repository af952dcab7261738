"""Report events and dead letters to Waybill from any Python program. Standard library only, Python 3.11 or newer.

    from agents.sdk import Waybill

    waybill = Waybill(system="erp")  # address and key from WAYBILL and WAYBILL_AGENT_KEY

    with waybill.step("process", destination="orders", message_id="order-4711", keys={"order_no": "4711"}):
        book()  # an exception is reported with its stack, and goes on

The folder stands alone (its imports are relative for that): copy it into another project under any name. See docs/ingest/python-sdk.md.
"""

from .client import Waybill
from .sender import Counts, Full
from .steps import Step

__all__ = ["Counts", "Full", "Step", "Waybill"]
