// Kafka by kafkajs and its instrumentation, as they come: `kafkajs_orders.cjs shop`, then `… erp` (a message at a time) and `… billing`
// (batches). KAFKA names the broker.
const { KafkaJsInstrumentation } = require('@opentelemetry/instrumentation-kafkajs');
const { about, instrument, service, shutdown, wait } = require('./telemetry.cjs');

instrument(new KafkaJsInstrumentation());
const { Kafka, logLevel } = require('kafkajs');

async function main() {
  const kafka = new Kafka({ brokers: [process.env.KAFKA], clientId: service, logLevel: logLevel.NOTHING });
  if (service === 'shop') {
    const admin = kafka.admin();
    await admin.createTopics({ topics: [{ topic: 'js.orders' }] });
    const producer = kafka.producer();
    await producer.connect();
    await producer.send({ topic: 'js.orders', messages: ['4711', '4712'].map((orderNo) => ({ key: orderNo, value: orderNo })) });
    await producer.disconnect();
    await admin.disconnect();
  } else {
    const consumer = kafka.consumer({ groupId: service, retry: { retries: 0 } });
    await consumer.connect();
    await consumer.subscribe({ topic: 'js.orders', fromBeginning: true });
    let failures = 0;
    const book = async (message) => {
      about(message.value.toString());
      if (message.value.toString() === '4712' && failures++ < 2) throw Object.assign(new Error('the ERP did not answer in 30 s'), { name: 'ErpTimeout' });
    };
    await consumer.run(
      service === 'erp'
        ? { eachMessage: ({ message }) => book(message) }
        : { eachBatch: async () => {} },
    );
    await wait(4000);
    await consumer.disconnect();
  }
  await shutdown();
}

main();
