// A shop sends orders, an ERP processes them, one fails: spans and logged exceptions by OpenTelemetry's SDK.
import { ROOT_CONTEXT, SeverityNumber, SpanKind, SpanStatusCode, context, propagation, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-http';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'; // JSON; …-otlp-proto sends protobuf
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs';
import { BatchSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';

context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
propagation.setGlobalPropagator(new W3CTraceContextPropagator());

// The exporters find address and key in OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_HEADERS.
const resource = (service) => resourceFromAttributes({ 'service.name': service, 'service.version': '1.0' });
const tracing = (service) =>
  new TracerProvider({ resource: resource(service), spanProcessors: [new BatchSpanProcessor({ exporter: new OTLPTraceExporter() })] });
const logging = (service) =>
  new LoggerProvider({ resource: resource(service), processors: [new BatchLogRecordProcessor({ exporter: new OTLPLogExporter() })] });

const providers = [tracing('shop'), tracing('erp'), logging('erp')];
const shop = providers[0].getTracer('orders');
const erp = providers[1].getTracer('orders');
const log = providers[2].getLogger('orders');
const about = (orderNo, name, type) => ({
  'messaging.system': 'rabbitmq',
  'messaging.destination.name': 'orders',
  'messaging.operation.name': name,
  'messaging.operation.type': type,
  'messaging.message.id': `javascript-order-${orderNo}`,
  order_no: orderNo,
});

function send(orderNo) {
  const attributes = about(orderNo, 'publish', 'send');
  return shop.startActiveSpan('publish orders', { kind: SpanKind.PRODUCER, attributes }, (span) => {
    const headers = {};
    propagation.inject(context.active(), headers); // traceparent travels in the message's headers
    span.end();
    return headers;
  });
}

function process(orderNo, headers) {
  const sender = trace.getSpanContext(propagation.extract(ROOT_CONTEXT, headers));
  const options = {
    kind: SpanKind.CONSUMER,
    attributes: about(orderNo, 'consume', 'process'),
    links: sender ? [{ context: sender }] : [],
    root: true,
  };
  return erp.startActiveSpan('consume orders', options, (span) => {
    try {
      book(orderNo);
    } catch (error) {
      log.emit({ severityNumber: SeverityNumber.ERROR, body: `order ${orderNo} was not booked`, exception: error });
      span.setAttribute('error.type', error.name);
      span.setStatus({ code: SpanStatusCode.ERROR, message: error.message });
      throw error;
    } finally {
      span.end();
    }
  });
}

function book(orderNo) {
  if (orderNo === '4712') {
    throw Object.assign(new Error('the ERP did not answer in 30 s'), { name: 'ErpTimeout' });
  }
}

for (const orderNo of ['4711', '4712']) {
  try {
    process(orderNo, send(orderNo));
  } catch {
    // a real consumer rejects the message here, so that it is tried again or dead-lettered
  }
}
for (const provider of providers) await provider.shutdown(); // sends what is still in the batch
