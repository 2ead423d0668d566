import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import okhttp3.*;
import okhttp3.sse.*;

/** Follows a stream with okhttp-sse, which reads one answer and hides retry:. The loop and the last id are here. */
public class OkHttpSse {
  static volatile String lastId = "";
  static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

  public static void main(String[] args) throws Exception {
    // The server sends something every 30 s at least; the library's own bound is 10 s.
    OkHttpClient client = new OkHttpClient.Builder().readTimeout(75, TimeUnit.SECONDS).build();
    while (true) {
      CountDownLatch ended = new CountDownLatch(1);
      Request.Builder request = new Request.Builder().url(args[0]).header("Accept", "text/event-stream");
      if (!lastId.isEmpty()) request.header("Last-Event-ID", lastId);
      EventSources.createFactory(client).newEventSource(request.build(), new EventSourceListener() {
        @Override public void onEvent(EventSource source, String id, String event, String data) {
          if (id != null && !id.isEmpty()) lastId = id;
          if ("note".equals(event)) OUT.println(data);
          if ("done".equals(event) || "sse.closed".equals(event) && data.contains("\"superseded\"")) System.exit(0);
        }
        @Override public void onClosed(EventSource source) { ended.countDown(); }
        @Override public void onFailure(EventSource source, Throwable failure, Response response) {
          if (response != null && (response.code() == 204 || response.code() == 401)) System.exit(1);
          ended.countDown();
        }
      });
      ended.await();
      Thread.sleep(1000);
    }
  }
}
