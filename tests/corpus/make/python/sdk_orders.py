"""A shop sends orders, an ERP processes them, one fails for good: told by Waybill's own client."""

from agents.sdk import Waybill

waybill = Waybill(system="erp", spool="spool")  # console and key come from WAYBILL and WAYBILL_AGENT_KEY


def send(order_no: str) -> dict[str, str]:
    message = {"message-id": f"python-sdk-order-{order_no}", "body": f'{{"order_no": "{order_no}"}}'}
    with waybill.step(
        "send", system="shop", destination="orders", message_id=message["message-id"], keys={"order_no": order_no},
        payload=message["body"], content_type="application/json",
    ) as step:  # fmt: skip
        message["traceparent"] = step.traceparent  # travels in the message's headers
    return message


def process(message: dict[str, str]) -> None:
    with waybill.step(
        "process", destination="orders", message_id=message["message-id"], traceparent=message.get("traceparent")
    ) as step:
        step.keys["order_no"] = message["body"][14:18]  # what is known only on the way
        book(step.keys["order_no"])


def book(order_no: str) -> None:
    if order_no == "4712":
        raise TimeoutError("the ERP did not answer in 30 s")


for number in ("4711", "4712"):
    message = send(number)
    try:
        process(message)
    except TimeoutError as error:  # reported already, and raised again: what is to be done about it is yours
        waybill.dead_letter(
            f"orders.dlq/{number}", queue="orders.dlq", broker="files", origin="orders", reason="failed for good", attempts=1,
            message_id=message["message-id"], body=message["body"], content_type="application/json", error=error,
        )  # fmt: skip

if not waybill.flush():  # True: the console has it, or it lies in the spool
    print("not everything is safe yet:", waybill.counts)
