// A shop sends orders, an ERP processes them, one fails: spans and logged exceptions by OpenTelemetry's SDK.
package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/propagation"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

var (
	propagator = propagation.TraceContext{}
	shop, erp  trace.Tracer
	logger     log.Logger
)

func about(orderNo, name, kind string) trace.SpanStartEventOption {
	return trace.WithAttributes(
		attribute.String("messaging.system", "rabbitmq"),
		attribute.String("messaging.destination.name", "orders"),
		attribute.String("messaging.operation.name", name),
		attribute.String("messaging.operation.type", kind),
		attribute.String("messaging.message.id", "go-order-message-"+orderNo),
		attribute.String("order_no", orderNo))
}

func send(orderNo string) propagation.MapCarrier {
	ctx, span := shop.Start(context.Background(), "publish orders", trace.WithSpanKind(trace.SpanKindProducer), about(orderNo, "publish", "send"))
	defer span.End()
	headers := propagation.MapCarrier{}
	propagator.Inject(ctx, headers) // traceparent travels in the message's headers
	return headers
}

func process(orderNo string, headers propagation.MapCarrier) error {
	sender := trace.SpanContextFromContext(propagator.Extract(context.Background(), headers))
	ctx, span := erp.Start(context.Background(), "consume orders", trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithLinks(trace.Link{SpanContext: sender}), about(orderNo, "consume", "process"))
	defer span.End()
	err := book(orderNo)
	if err != nil {
		var record log.Record
		record.SetTimestamp(time.Now())
		record.SetSeverity(log.SeverityError)
		record.SetBody(attribute.StringValue("order " + orderNo + " was not booked"))
		record.SetErr(err)
		logger.Emit(ctx, record)
		span.SetAttributes(attribute.String("error.type", fmt.Sprintf("%T", err)))
		span.SetStatus(codes.Error, err.Error())
	}
	return err
}

func book(orderNo string) error {
	if orderNo == "4712" {
		return fmt.Errorf("order %s: %w", orderNo, errors.New("the ERP did not answer in 30 s"))
	}
	return nil
}

// The exporters find address and key in OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_HEADERS.
func tracing(ctx context.Context, service *resource.Resource) *sdktrace.TracerProvider {
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		panic(err)
	}
	return sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(service))
}

func logging(ctx context.Context, service *resource.Resource) *sdklog.LoggerProvider {
	exporter, err := otlploghttp.New(ctx)
	if err != nil {
		panic(err)
	}
	return sdklog.NewLoggerProvider(sdklog.WithProcessor(sdklog.NewBatchProcessor(exporter)), sdklog.WithResource(service))
}

func named(service string) *resource.Resource {
	return resource.NewSchemaless(attribute.String("service.name", service), attribute.String("service.version", "1.0"))
}

func main() {
	ctx := context.Background()
	ofShop, ofErp, logs := tracing(ctx, named("shop")), tracing(ctx, named("erp")), logging(ctx, named("erp"))
	shop, erp, logger = ofShop.Tracer("orders"), ofErp.Tracer("orders"), logs.Logger("orders")
	for _, orderNo := range []string{"4711", "4712"} {
		if err := process(orderNo, send(orderNo)); err != nil {
			continue // a real consumer rejects the message here, so that it is tried again or dead-lettered
		}
	}
	for _, shutdown := range []func(context.Context) error{ofShop.Shutdown, ofErp.Shutdown, logs.Shutdown} {
		if err := shutdown(ctx); err != nil { // sends what is still in the batch
			panic(err)
		}
	}
}
