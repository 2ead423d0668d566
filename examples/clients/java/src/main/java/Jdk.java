import java.io.IOException;
import java.io.PrintStream;
import java.net.URI;
import java.net.http.*;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.stream.Stream;

/** Follows a stream with the client of the JDK: all of the protocol is here. Data of one line, as the server writes JSON. */
public class Jdk {
  public static void main(String[] args) throws Exception {
    PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    HttpClient client = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(10)).build();
    String lastId = "", event = "", data = "";
    long pause = 1000;
    while (true) {
      HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(args[0])).header("Accept", "text/event-stream");
      if (!lastId.isEmpty()) request.header("Last-Event-ID", lastId);
      try {
        HttpResponse<Stream<String>> answer = client.send(request.build(), HttpResponse.BodyHandlers.ofLines());
        if (answer.statusCode() == 204 || answer.statusCode() == 401) System.exit(1);
        for (String line : (Iterable<String>) answer.body()::iterator) {
          String value = line.replaceFirst("^[^:]*: ?", "");
          if (line.startsWith("id:")) lastId = value;
          else if (line.startsWith("event:")) event = value;
          else if (line.startsWith("data:")) data = value;
          else if (line.startsWith("retry:")) pause = Long.parseLong(value);
          else if (line.isEmpty()) {
            if (event.equals("note")) out.println(data);
            if (event.equals("done") || event.equals("sse.closed") && data.contains("\"superseded\"")) System.exit(0);
            event = data = "";
          }
        }
      } catch (IOException | java.io.UncheckedIOException failure) { event = data = ""; }
      Thread.sleep(pause);
    }
  }
}
