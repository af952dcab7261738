import io.opentelemetry.api.trace.Span;
import io.opentelemetry.instrumentation.kafkaclients.v2_6.KafkaTelemetry;
import io.opentelemetry.sdk.OpenTelemetrySdk;
import io.opentelemetry.sdk.autoconfigure.AutoConfiguredOpenTelemetrySdk;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Kafka by its own client and OpenTelemetry's instrumentation, as they come: `KafkaOrders shop`, then `KafkaOrders erp [receive]`. */
public class KafkaOrders {
  public static void main(String[] args) throws Exception {
    OpenTelemetrySdk sdk = AutoConfiguredOpenTelemetrySdk.builder()
        .addPropertiesSupplier(() -> Map.of("otel.service.name", args[0], "otel.metrics.exporter", "none", "otel.exporter.otlp.protocol", "http/protobuf"))
        .disableShutdownHook().build().getOpenTelemetrySdk();
    String broker = System.getenv("KAFKA");
    KafkaTelemetry telemetry = KafkaTelemetry.builder(sdk).setMessagingReceiveTelemetryEnabled(args.length > 2).build();
    if (args[0].equals("shop")) {
      try (Producer<String, String> producer = telemetry.wrap(new KafkaProducer<>(Map.of("bootstrap.servers", broker), new StringSerializer(), new StringSerializer()))) {
        for (String orderNo : new String[] {"4711", "4712"}) {
          producer.send(new ProducerRecord<>(args[1], orderNo, orderNo)).get();
        }
      }
    } else {
      Map<String, Object> config = Map.of("bootstrap.servers", broker, "group.id", args[0], "auto.offset.reset", "earliest");
      try (Consumer<String, String> consumer = telemetry.wrap(new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer()))) {
        consumer.subscribe(List.of(args[1]));
        for (int seen = 0; seen < 2; ) {
          for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofSeconds(5))) {
            seen++;
            Span.current().setAttribute("order_no", record.value());
          }
        }
      }
    }
    sdk.close();
  }
}
