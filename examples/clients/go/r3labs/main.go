// Follows a stream with r3labs/sse. A clean end ends the subscription: the loop is here. It does not keep to retry:.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/r3labs/sse/v2"
)

func main() {
	ctx, stop := context.WithCancel(context.Background())
	client := sse.NewClient(os.Args[1], sse.ClientMaxBufferSize(1<<20)) // The largest event of the server.
	client.ResponseValidator = func(_ *sse.Client, response *http.Response) error {
		if response.StatusCode == 204 || response.StatusCode == 401 || response.StatusCode == 403 {
			stop()
		}
		if response.StatusCode != 200 {
			return fmt.Errorf("status %d", response.StatusCode)
		}
		return nil
	}
	for ctx.Err() == nil {
		_ = client.SubscribeRawWithContext(ctx, func(event *sse.Event) {
			switch name := string(event.Event); {
			case name == "note":
				fmt.Println(string(event.Data))
			case name == "done", name == "sse.closed" && strings.Contains(string(event.Data), `"superseded"`):
				stop()
			}
		})
		time.Sleep(time.Second)
	}
}
