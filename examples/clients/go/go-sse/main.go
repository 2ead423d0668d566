// Follows a stream with tmaxmax/go-sse, which comes back with the last id and keeps to retry: by itself.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/tmaxmax/go-sse"
)

func main() {
	ctx, stop := context.WithCancel(context.Background())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, os.Args[1], nil)
	if err != nil {
		panic(err)
	}
	connection := sse.NewConnection(request)
	connection.Buffer(nil, 1<<20) // The server's largest event; the library's own bound is 64 KB.
	connection.SubscribeEvent("note", func(event sse.Event) { fmt.Println(event.Data) })
	connection.SubscribeEvent("done", func(sse.Event) { stop() })
	connection.SubscribeEvent("sse.closed", func(event sse.Event) {
		if strings.Contains(event.Data, `"superseded"`) {
			stop()
		}
	})
	// Ends at any status but 200.
	if err := connection.Connect(); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
