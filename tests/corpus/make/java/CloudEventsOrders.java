import io.cloudevents.CloudEvent;
import io.cloudevents.core.builder.CloudEventBuilder;
import io.cloudevents.core.message.MessageWriter;
import io.cloudevents.http.HttpMessageFactory;
import io.cloudevents.jackson.JsonFormat;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.OffsetDateTime;
import java.util.stream.IntStream;
import java.util.stream.Collectors;

/** The same order as CloudEvents in binary, structured and batched mode, by the CloudEvents SDK. */
public class CloudEventsOrders {
  static CloudEvent event(int number, String type, String data) {
    return CloudEventBuilder.v1()
        .withId("java-order-event-" + number)
        .withSource(URI.create("urn:event:from:shop/orders"))
        .withType(type)
        .withTime(OffsetDateTime.now())
        .withExtension("orderno", "4711")
        .withData("application/json", data.getBytes(StandardCharsets.UTF_8))
        .build();
  }

  static HttpRequest.Builder request() {
    return HttpRequest.newBuilder(URI.create(System.getenv("WAYBILL") + "/ingest/v1/cloudevents"))
        .version(HttpClient.Version.HTTP_1_1)
        .header("Authorization", "Bearer " + System.getenv("WAYBILL_AGENT_KEY"));
  }

  static void send(HttpRequest.Builder request) {
    try {
      HttpResponse<String> answer = HttpClient.newHttpClient().send(request.build(), HttpResponse.BodyHandlers.ofString());
      if (answer.statusCode() != 200) throw new IllegalStateException(answer.statusCode() + " " + answer.body());
    } catch (java.io.IOException | InterruptedException error) {
      throw new IllegalStateException(error);
    }
  }

  static MessageWriter<?, ?> writer(HttpRequest.Builder request) {
    return HttpMessageFactory.createWriter(request::header, body -> request.POST(HttpRequest.BodyPublishers.ofByteArray(body)));
  }

  public static void main(String[] args) {
    HttpRequest.Builder binary = request();
    writer(binary).writeBinary(event(1, "order.created", "{\"order_no\": \"4711\"}"));
    send(binary);

    HttpRequest.Builder structured = request();
    writer(structured).writeStructured(event(2, "order.paid", "{\"order_no\": \"4711\", \"invoice_no\": \"R-9\"}"), new JsonFormat());
    send(structured);

    String batch = IntStream.of(3, 4)
        .mapToObj(number -> new String(new JsonFormat().serialize(event(number, "order.shipped", "{\"order_no\": \"4711\"}")), StandardCharsets.UTF_8))
        .collect(Collectors.joining(",", "[", "]"));
    send(request().header("Content-Type", "application/cloudevents-batch+json").POST(HttpRequest.BodyPublishers.ofString(batch)));
  }
}
