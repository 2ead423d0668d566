import com.launchdarkly.eventsource.ConnectStrategy;
import com.launchdarkly.eventsource.ErrorStrategy;
import com.launchdarkly.eventsource.EventSource;
import com.launchdarkly.eventsource.MessageEvent;
import java.io.PrintStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.TimeUnit;

/** Follows a stream with okhttp-eventsource, which comes back with the last id and keeps to retry: by itself. */
public class LaunchDarkly {
  public static void main(String[] args) throws Exception {
    PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    // The server sends something every 30 s at least; the library's own bound is five minutes.
    ConnectStrategy connect = ConnectStrategy.http(URI.create(args[0])).readTimeout(75, TimeUnit.SECONDS);
    EventSource.Builder builder =
        new EventSource.Builder(connect)
            // Without it the first failure is thrown.
            .errorStrategy(ErrorStrategy.alwaysContinue());
    try (EventSource source = builder.build()) {
      for (MessageEvent event : source.messages()) {
        String data = event.getData();
        switch (event.getEventName()) {
          case "note" -> out.println(data);
          case "done" -> System.exit(0);
          case "sse.closed" -> {
            if (data.contains("\"superseded\"")) System.exit(0);
          }
          default -> {}
        }
      }
    }
  }
}
