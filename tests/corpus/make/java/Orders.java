import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.logs.Logger;
import io.opentelemetry.api.logs.Severity;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.api.trace.StatusCode;
import io.opentelemetry.api.trace.Tracer;
import io.opentelemetry.api.trace.propagation.W3CTraceContextPropagator;
import io.opentelemetry.context.Context;
import io.opentelemetry.context.Scope;
import io.opentelemetry.context.propagation.TextMapGetter;
import io.opentelemetry.sdk.OpenTelemetrySdk;
import io.opentelemetry.sdk.autoconfigure.AutoConfiguredOpenTelemetrySdk;
import java.util.HashMap;
import java.util.Map;

/** A shop sends orders, an ERP processes them, one fails: spans and logged exceptions by OpenTelemetry's SDK. */
public class Orders {
  /** The exporter finds address and key in OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_HEADERS. */
  static OpenTelemetrySdk sdk(String service) {
    return AutoConfiguredOpenTelemetrySdk.builder()
        .addPropertiesSupplier(() -> Map.of(
            "otel.service.name", service,
            "otel.resource.attributes", "service.version=1.0",
            "otel.exporter.otlp.protocol", "http/protobuf",
            "otel.metrics.exporter", "none"))
        .disableShutdownHook()
        .build()
        .getOpenTelemetrySdk();
  }

  static final OpenTelemetrySdk SHOP = sdk("shop"), ERP = sdk("erp");
  static final Tracer SHOP_TRACER = SHOP.getTracer("orders"), ERP_TRACER = ERP.getTracer("orders");
  static final Logger LOG = ERP.getSdkLoggerProvider().get("orders");
  static final TextMapGetter<Map<String, String>> HEADERS = Map::get;

  static Attributes about(String orderNo, String name, String type) {
    return Attributes.builder()
        .put("messaging.system", "rabbitmq")
        .put("messaging.destination.name", "orders")
        .put("messaging.operation.name", name)
        .put("messaging.operation.type", type)
        .put("messaging.message.id", "java-order-" + orderNo)
        .put("order_no", orderNo)
        .build();
  }

  static Map<String, String> send(String orderNo) {
    Span span = SHOP_TRACER.spanBuilder("publish orders").setSpanKind(SpanKind.PRODUCER)
        .setAllAttributes(about(orderNo, "publish", "send")).startSpan();
    Map<String, String> headers = new HashMap<>();
    try (Scope scope = span.makeCurrent()) {
      W3CTraceContextPropagator.getInstance().inject(Context.current(), headers, Map::put); // traceparent travels with the message
    } finally {
      span.end();
    }
    return headers;
  }

  static void process(String orderNo, Map<String, String> headers) {
    Context sender = W3CTraceContextPropagator.getInstance().extract(Context.root(), headers, HEADERS);
    Span span = ERP_TRACER.spanBuilder("consume orders").setSpanKind(SpanKind.CONSUMER).setNoParent()
        .addLink(Span.fromContext(sender).getSpanContext())
        .setAllAttributes(about(orderNo, "consume", "process")).startSpan();
    try (Scope scope = span.makeCurrent()) {
      try {
        book(orderNo);
      } catch (RuntimeException error) { // inside the scope: what is logged after it belongs to no span
        LOG.logRecordBuilder().setSeverity(Severity.ERROR).setBody("order " + orderNo + " was not booked").setException(error).emit();
        span.setAttribute(AttributeKey.stringKey("error.type"), error.getClass().getName());
        span.setStatus(StatusCode.ERROR, error.getMessage());
        throw error;
      }
    } finally {
      span.end();
    }
  }

  static void book(String orderNo) {
    if (orderNo.equals("4712")) {
      throw new IllegalStateException("the ERP did not answer in 30 s");
    }
  }

  public static void main(String[] args) {
    for (String orderNo : new String[] {"4711", "4712"}) {
      try {
        process(orderNo, send(orderNo));
      } catch (IllegalStateException error) {
        // a real consumer rejects the message here, so that it is tried again or dead-lettered
      }
    }
    SHOP.close(); // sends what is still in the batch
    ERP.close();
  }
}
