//! Follows a stream with eventsource-client, which comes back with the last id and keeps to `retry:` by itself.
use std::time::Duration;

use eventsource_client::{Client, ClientBuilder, ReconnectOptions, SSE};
use futures::StreamExt;
use launchdarkly_sdk_transport::HyperTransport;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("give the URL")?;
    // The server sends something every 30 s at least.
    let transport = HyperTransport::builder()
        .connect_timeout(Duration::from_secs(10))
        .read_timeout(Duration::from_secs(75))
        .build_http()?;
    let reconnect = ReconnectOptions::reconnect(true).retry_initial(true).delay(Duration::from_millis(500)).build();
    let client = ClientBuilder::for_url(&url)?.reconnect(reconnect).build_with_transport(transport);
    let mut stream = Box::pin(client.stream());
    while let Some(item) = stream.next().await {
        match item {
            Ok(SSE::Event(event)) => match event.event_type.as_str() {
                "note" => println!("{}", event.data),
                "done" => return Ok(()),
                "sse.closed" if event.data.contains("\"superseded\"") => return Ok(()),
                _ => {}
            },
            Ok(_) => {}
            // The end of an answer and a failed attempt: the stream goes on. After some statuses it ends by itself.
            Err(_) => {}
        }
    }
    Err("the stream ended".into())
}
