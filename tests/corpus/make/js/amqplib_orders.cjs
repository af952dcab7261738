// RabbitMQ by amqplib and its instrumentation, as they come: `amqplib_orders.cjs shop`, then `amqplib_orders.cjs erp`. AMQP_URL names the broker.
const { AmqplibInstrumentation } = require('@opentelemetry/instrumentation-amqplib');
const { about, instrument, service, shutdown, wait } = require('./telemetry.cjs');

instrument(new AmqplibInstrumentation());
const amqp = require('amqplib');

async function main() {
  const connection = await amqp.connect(process.env.AMQP_URL);
  const channel = await connection.createConfirmChannel();
  await channel.assertExchange('shop', 'topic');
  await channel.assertQueue('erp.js.orders');
  await channel.bindQueue('erp.js.orders', 'shop', 'order.*');
  if (service === 'shop') {
    for (const orderNo of ['4711', '4712']) {
      channel.publish('shop', 'order.created', Buffer.from(orderNo), { messageId: `amqplib-message-${orderNo}`, correlationId: `basket-${orderNo}` });
    }
    await channel.waitForConfirms();
  } else {
    await channel.consume('erp.js.orders', (message) => {
      const orderNo = message.content.toString();
      about(orderNo);
      if (orderNo === '4712') channel.nack(message, false, false);
      else channel.ack(message);
    });
    await wait(1500);
  }
  await connection.close();
  await shutdown();
}

main();
