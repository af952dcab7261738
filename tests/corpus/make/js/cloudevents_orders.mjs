// The same order as CloudEvents in binary, structured and batched mode, by the CloudEvents SDK.
import { CloudEvent, HTTP } from 'cloudevents';

const address = `${process.env.WAYBILL}/ingest/v1/cloudevents`;
const key = { Authorization: `Bearer ${process.env.WAYBILL_AGENT_KEY}` };
const event = (number, type, data) =>
  new CloudEvent({ id: `js-order-event-${number}`, source: '/shop/orders', type, subject: 'order-4711', data });

async function send({ headers, body }) {
  const answer = await fetch(address, { method: 'POST', headers: { ...key, ...headers }, body });
  if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
}

await send(HTTP.binary(event(1, 'order.created', { order_no: '4711' })));
await send(HTTP.structured(event(2, 'order.paid', { order_no: '4711', invoice_no: 'R-9' })));
await send({
  headers: { 'content-type': 'application/cloudevents-batch+json' },
  body: JSON.stringify([3, 4].map((number) => event(number, 'order.shipped', { order_no: '4711' }))),
});
