// What every instrumented script beside this one starts with: OpenTelemetry's SDK, service named by the first argument.
const { context, propagation, trace } = require('@opentelemetry/api');
const { AsyncLocalStorageContextManager } = require('@opentelemetry/context-async-hooks');
const { W3CTraceContextPropagator } = require('@opentelemetry/core');
const { OTLPTraceExporter } = require('@opentelemetry/exporter-trace-otlp-proto');
const { registerInstrumentations } = require('@opentelemetry/instrumentation');
const { resourceFromAttributes } = require('@opentelemetry/resources');
const { BatchSpanProcessor, TracerProvider } = require('@opentelemetry/sdk-trace');

const service = process.argv[2];
const provider = new TracerProvider({
  resource: resourceFromAttributes({ 'service.name': service }),
  spanProcessors: [new BatchSpanProcessor({ exporter: new OTLPTraceExporter() })],
});
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
propagation.setGlobalPropagator(new W3CTraceContextPropagator());
trace.setGlobalTracerProvider(provider);

exports.service = service;
exports.instrument = (...instrumentations) => registerInstrumentations({ instrumentations, tracerProvider: provider });
exports.shutdown = () => provider.shutdown();
exports.about = (orderNo) => trace.getActiveSpan()?.setAttribute('order_no', orderNo);
exports.wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
